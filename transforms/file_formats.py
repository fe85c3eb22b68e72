"""The formats of files: which one a path names, and how to inspect a file of each."""

from collections.abc import Callable, Iterator
from dataclasses import replace
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


# Of the files that an output folder holds.
PART_EXTENSIONS: Final[dict[FileFormat, str]] = {
    "parquet": ".parquet",
    "json": ".jsonl",
    "csv": ".csv",
    "avro": ".avro",
}


class FileInfo(Protocol):
    """What a file says of itself before it is read."""

    @property
    def path(self) -> str:
        """The file."""

    @property
    def schema(self) -> pa.Schema:
        """All columns."""

    @property
    def num_rows(self) -> int | None:
        """How many rows; None if nobody knows before they are read."""

    def ranges(self) -> Iterator[tuple[Any, int]]:
        """The file in pieces, in order, each with its weight in bytes."""


def format_of(path: str) -> FileFormat | None:
    """The format that a path's extension names; None if it names none.

    >>> format_of("in/rows.jsonl.gz"), format_of("s3://b/x.parquet"), format_of("out")
    ('json', 'parquet', None)
    """
    name = PurePosixPath(path)
    suffix = PurePosixPath(name.stem).suffix if compression_of(path) else name.suffix
    return EXTENSIONS.get(suffix.lower())


def delimiter_of(path: str) -> str:
    r"""What stands between two fields of a CSV file of this name, if nobody says it.

    >>> delimiter_of("rows.tsv.gz"), delimiter_of("rows.csv")
    ('\t', ',')
    """
    return "\t" if ".tsv" in map(str.lower, PurePosixPath(path).suffixes[-2:]) else ","


def inspector(format_: FileFormat, dialect: CsvDialect) -> Callable[[str], FileInfo]:
    """What reads the head of a file of this format.

    A `.tsv` file has tabs between its fields unless the dialect says something else than a comma.
    """
    if format_ == "parquet":
        return inspect_parquet
    if format_ == "avro":
        return inspect_avro_file

    def inspect(path: str) -> FileInfo:
        if dialect.delimiter == CsvDialect().delimiter:
            return inspect_text(path, format_, replace(dialect, delimiter=delimiter_of(path)))
        return inspect_text(path, format_, dialect)

    return inspect
