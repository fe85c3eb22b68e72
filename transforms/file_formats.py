"""The formats of files: which one a path names, and how to inspect a file of each."""

from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from typing import Any, Final, Literal, Protocol

import pyarrow as pa

from .avro_input import inspect_avro_file
from .formats.compressed_text import compression_of
from .formats.csv_dialect import CsvDialect
from .parquet_files import inspect_parquet
from .text_files import inspect_text

FileFormat = Literal["parquet", "json", "csv", "avro"]

EXTENSIONS: Final[dict[str, FileFormat]] = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".jsonl": "json",
    ".ndjson": "json",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "csv",
    ".avro": "avro",
}


class FileInfo(Protocol):
    """What a file says of itself before it is read."""

    @property
    def path(self) -> str: ...
    @property
    def schema(self) -> pa.Schema: ...
    @property
    def num_rows(self) -> int | None: ...
    def ranges(self) -> Iterator[tuple[Any, int]]: ...


def format_of(path: str) -> FileFormat | None:
    """The format that a path's extension names; None if it names none.

    >>> format_of("in/rows.jsonl.gz"), format_of("s3://b/x.parquet"), format_of("out")
    ('json', 'parquet', None)
    """
    name = PurePosixPath(path)
    suffix = PurePosixPath(name.stem).suffix if compression_of(path) else name.suffix
    return EXTENSIONS.get(suffix.lower())


def inspector(format_: FileFormat, dialect: CsvDialect) -> Callable[[str], FileInfo]:
    """What reads the head of a file of this format."""
    if format_ == "parquet":
        return inspect_parquet
    if format_ == "avro":
        return inspect_avro_file

    def inspect(path: str) -> FileInfo:
        return inspect_text(path, format_, dialect)

    return inspect
