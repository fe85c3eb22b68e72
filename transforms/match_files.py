"""Which files a path, glob or folder names."""

import re

from apache_beam.io.filesystems import FileSystems

from .storage import exists, is_folder, join, list_files

_WILDCARD = re.compile(r"[*?[]")
_HIDDEN = re.compile(r"(^|/)[_.]")


def match_files(pattern: str) -> list[str]:
    """The files that a path, glob or folder names, sorted; none if there are none.

    What a wildcard or a folder stands for starts with no `_` and no `.`, unless the pattern says so
    itself: such files and folders hold no data (`_SUCCESS`, `_dead_letters/part-00000.parquet`).
    """
    if is_folder(pattern):
        start = len(join(pattern, ""))
        return [path for path in list_files(pattern) if not _HIDDEN.search(path[start:])]
    wildcard = _WILDCARD.search(pattern)
    if wildcard is None or exists(pattern):  # the name of a file may have such a character
        return [pattern] if exists(pattern) else []
    start = pattern.rfind("/", 0, wildcard.start()) + 1
    # Beam lists the folder before the first wildcard, and finds nothing where none is named.
    here = "./" if start == 0 else ""
    metadata = FileSystems.match([here + pattern])[0].metadata_list
    paths = sorted(entry.path.removeprefix(here) for entry in metadata)
    if _HIDDEN.search(pattern[start:]):
        return paths
    return [path for path in paths if not _HIDDEN.search(path[start:])]
