"""The few file operations that a run needs, on any Beam file system.

Locally a rename is atomic and replaces its target. On an object store it is a copy and a delete,
so whoever renames there must be able to do it again.
"""

import errno
import glob
import io
import json
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, cast

from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems


def is_local(path: str) -> bool:
    """Whether a path lies in the local file system."""
    return "://" not in path


def join(folder: str, *names: str) -> str:
    """Joins a folder and names below it with slashes.

    >>> join("gs://bucket/out/", "_run", "a.json")
    'gs://bucket/out/_run/a.json'
    """
    return "/".join([folder.rstrip("/"), *names])


def exists(path: str) -> bool:
    """Whether there is a file (or, locally, a folder) of this name."""
    return Path(path).exists() if is_local(path) else bool(FileSystems.exists(path))


def is_folder(path: str) -> bool:
    """Whether a path names a folder; on an object store, whether it says so by a last slash."""
    return Path(path).is_dir() if is_local(path) else path.endswith("/")


def absolute(path: str) -> str:
    """The same file's name for a process that works in another folder."""
    return str(Path(path).absolute()) if is_local(path) else path


def list_files(folder: str) -> list[str]:
    """All files below a folder, sorted; none if there is no such folder.

    Every name starts with the folder as it was given, so that what follows can be cut off.
    """
    if is_local(folder):
        below = (path.relative_to(folder) for path in Path(folder).rglob("*") if path.is_file())
        return sorted(join(folder, path.as_posix()) for path in below)
    results = FileSystems.match([join(literal(folder), "**")])
    return sorted(metadata.path for result in results for metadata in result.metadata_list)


def literal(path: str) -> str:
    """A pattern that matches just this path, whatever characters it has.

    Beam lists what lies before the first special character: a folder that has one is slower.

    >>> literal("gs://bucket/a[1].parquet")
    'gs://bucket/a[[]1].parquet'
    """
    return re.sub(r"([*?[])", r"[\1]", path)


def make_folder(folder: str) -> None:
    """Makes a local folder with its parents; object stores have none."""
    if is_local(folder):
        Path(folder).mkdir(parents=True, exist_ok=True)


def read_json(path: str) -> dict[str, Any]:
    """Reads a JSON object."""
    with open_file(path) as file:
        return cast(dict[str, Any], json.loads(file.read()))


def write_text(path: str, text: str) -> None:
    """Writes a small file so that a reader sees the old content or the new, never a part."""
    if is_local(path):
        with _scratch(path) as scratch:
            scratch.write_text(text, encoding="utf-8")
        return
    with create(path) as file:
        file.write(text.encode())


@contextmanager
def _scratch(path: str) -> Iterator[Path]:
    """A file beside a local path that takes its name when it would survive a loss of power."""
    make_folder(str(Path(path).parent))
    scratch = Path(f"{path}.{uuid.uuid4().hex}.tmp")
    try:
        yield scratch
        sync(str(scratch))
        scratch.replace(path)
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise


def remove_scratch(path: str) -> None:
    """Removes what a process that was killed while it wrote `path` left beside it."""
    if is_local(path):
        _remove_scratch(Path(path).parent, glob.escape(Path(path).name))


def remove_scratch_below(folder: str, start: str) -> None:
    """Removes what a killed process left of files in a folder whose names begin with `start`."""
    if is_local(folder):
        _remove_scratch(Path(folder), f"{glob.escape(start)}*")


def _remove_scratch(folder: Path, names: str) -> None:
    for scratch in folder.glob(f"{names}.{'[0-9a-f]' * 32}.tmp"):
        scratch.unlink(missing_ok=True)


def sync(path: str) -> None:
    """Has a local file, or the names in a folder, survive a loss of power."""
    if not path or not is_local(path):
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: str, value: dict[str, Any]) -> None:
    """Writes a JSON object as `write_text` does."""
    write_text(path, _as_json(value))


def _as_json(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=2, default=str) + "\n"


def size_of(path: str) -> int:
    """The bytes of a file as it is stored.

    Raises:
        FileNotFoundError: there is none.
    """
    if is_local(path):
        return Path(path).stat().st_size
    found = FileSystems.match([literal(path)])[0].metadata_list
    if not found:
        raise FileNotFoundError(errno.ENOENT, "no such file", path)
    return int(found[0].size_in_bytes)


def create_json(path: str, value: dict[str, Any]) -> None:
    """Writes a JSON object under a name that nobody has yet; complete or not at all.

    Object stores have no such operation in Beam: there it replaces what has the name.

    Raises:
        FileExistsError: the name is taken; what has it stays.
    """
    if not is_local(path):
        write_json(path, value)
        return
    make_folder(str(Path(path).parent))
    scratch = Path(f"{path}.{uuid.uuid4().hex}.tmp")
    try:
        scratch.write_text(_as_json(value), encoding="utf-8")
        sync(str(scratch))
        os.link(scratch, path)
    finally:
        scratch.unlink(missing_ok=True)


def open_file(path: str) -> Any:
    """Opens a binary file for reading, as it is stored."""
    return FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED)


def create(path: str) -> Any:
    """Opens a new binary file for writing."""
    if is_local(path):
        make_folder(str(Path(path).parent))
        return Path(path).open("wb")
    return _S3File(path) if _scheme(path) == "s3" else _create_remotely(path)


def _create_remotely(path: str) -> Any:
    return FileSystems.create(path, compression_type=CompressionTypes.UNCOMPRESSED)


class _S3File(io.RawIOBase):
    """A new file on S3, empty or not.

    Beam 2.77 uploads in parts as soon as a file is opened, and S3 refuses an upload of no part.
    """

    def __init__(self, path: str):
        self._path = path
        self._file: Any = None

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        if self._file is None:
            if not len(data):
                return 0
            self._file = _create_remotely(self._path)
        return int(self._file.write(data))

    def close(self) -> None:
        if self.closed:
            return
        try:
            if self._file is None:
                _put_empty(self._path)
            else:
                self._file.close()
        finally:
            super().close()


def _put_empty(path: str) -> None:
    from apache_beam.io.aws.s3io import S3IO, parse_s3_path  # needs an extra

    bucket, key = parse_s3_path(path)
    system: Any = FileSystems.get_filesystem(path)
    S3IO(options=system._options).client.client.put_object(Bucket=bucket, Key=key, Body=b"")


def move(source: str, target: str) -> None:
    """Renames a file over its target. Done once already, it does nothing.

    Raises:
        FileNotFoundError: there is neither a source nor a target.
    """
    if not exists(source):
        if exists(target):
            return
        raise FileNotFoundError(f"cannot make {target} final: {source} is gone")
    if is_local(source) and is_local(target):
        _move_locally(source, target)
        return
    if _scheme(source) == _scheme(target):
        remove(target)  # some file systems refuse to copy over a file
        FileSystems.copy([source], [target])
    else:
        _copy(source, target)
    remove(source)


def _move_locally(source: str, target: str) -> None:
    make_folder(str(Path(target).parent))
    try:
        Path(source).replace(target)
    except FileNotFoundError:
        if not exists(target):
            raise  # if it is there, another process finished the same run
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        remove_scratch(target)
        with _scratch(target) as scratch:  # the target is on another device
            shutil.copyfile(source, scratch)
        Path(source).unlink()


def _copy(source: str, target: str) -> None:
    """From one file system to another: Beam's own copy would take both for the source's."""
    with open_file(source) as read:
        if is_local(target):
            with _scratch(target) as scratch, scratch.open("wb") as write:
                shutil.copyfileobj(read, write)
        else:
            with create(target) as write:
                shutil.copyfileobj(read, write)


def _scheme(path: str) -> str:
    return path.partition("://")[0] if not is_local(path) else ""


def remove(path: str) -> None:
    """Removes one file, if it is there."""
    if is_local(path):
        Path(path).unlink(missing_ok=True)
    elif exists(path):
        FileSystems.delete([path])


def remove_folder(folder: str) -> None:
    """Removes a folder and all below it, if it is there."""
    if is_local(folder):
        shutil.rmtree(folder, ignore_errors=True)
        return
    files = list_files(folder)
    if files:
        FileSystems.delete(files)


def remove_empty_folder(folder: str) -> None:
    """Removes a local folder if nothing is in it; object stores have none."""
    if is_local(folder):
        with suppress(OSError):
            Path(folder).rmdir()
