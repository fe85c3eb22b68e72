"""Reads the heads of input files, and says what a file is that is not what it should be."""

import shlex
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from scoreline.transforms.file_formats import FileFormat, FileInfo, format_of
from scoreline.transforms.formats.compressed_text import CorruptInputError, open_compressed
from scoreline.transforms.parquet_files import UnreadableFileError
from scoreline.transforms.storage import open_file

from .errors import UsageError

_HEAD_THREADS = 16  # heads are small: the wait for an object store is what takes the time
_PEEK_BYTES = 4096
_MAGIC: dict[bytes, FileFormat] = {b"PAR1": "parquet", b"Obj\x01": "avro", b"{": "json"}
_DELIMITERS = (b",", b";", b"\t", b"|")


def read_heads(
    paths: list[str], format_: FileFormat, inspect: Callable[[str], FileInfo]
) -> list[FileInfo]:
    """What each file says of itself; text files with nothing in them are left out.

    Raises:
        UsageError: all files are empty, so that nobody says which columns there are.
        UnreadableFileError: a file that is not what its name, or --input-format, says.
    """
    with ThreadPoolExecutor(min(_HEAD_THREADS, len(paths))) as pool:
        found = list(pool.map(partial(_read_head, format_, inspect), paths))
    infos = [info for info in found if info is not None]
    if not infos:
        raise UsageError(f"{paths[0]} is empty, and no other input file says what columns it has")
    return infos


def _read_head(
    format_: FileFormat, inspect: Callable[[str], FileInfo], path: str
) -> FileInfo | None:
    try:
        info = inspect(path)
    except UnreadableFileError as error:
        start = _start(path)
        if start is not None and format_ in ("json", "csv") and not start.strip():
            return None
        hint = _hint(path, format_, start)
        said = f"{str(error).rstrip('.')}. {hint}" if hint else str(error)
        raise UnreadableFileError(said) from error
    if not all(name.isprintable() for name in info.schema.names):  # bytes may happen to be text
        hint = _hint(path, format_, _start(path))
        if hint:
            raise UnreadableFileError(f"cannot read {path} as {format_}. {hint}")
    return info


def _start(path: str) -> bytes | None:
    """The first plain bytes of a file; None if it cannot be read or decompressed."""
    try:
        with open_file(path) as file:
            start = open_compressed(file, path).read(_PEEK_BYTES)
    except (CorruptInputError, OSError):
        return None
    return start.removeprefix(b"\xef\xbb\xbf")


def _hint(path: str, format_: FileFormat, start: bytes | None) -> str:
    """What else the file may be; empty if nobody knows."""
    if start is None:
        return ""
    if format_ == "json" and start.lstrip().startswith(b"["):
        return (
            "It looks like one JSON array; JSON lines have one object on each line, as "
            f"`jq -c '.[]' {shlex.quote(path)}` writes them."
        )
    if format_ == "json" and start.lstrip().startswith(b"{"):
        return (
            "It looks like JSON over several lines; JSON lines have one object on each line, as "
            f"`jq -c . {shlex.quote(path)}` writes them."
        )
    found = _looks_like(start)
    if found == format_ or found is None:
        return ""
    if found == format_of(path):
        return f"It looks like {found}, as its name says: leave out --input-format {format_}."
    return f"It looks like {found}: give --input-format {found} (source.format)."


def _looks_like(start: bytes) -> FileFormat | None:
    for magic, format_ in _MAGIC.items():
        if start.lstrip().startswith(magic):
            return format_
    first = start.split(b"\n", 1)[0]
    is_text = b"\0" not in start and any(mark in first for mark in _DELIMITERS)
    return "csv" if is_text else None
