r"""How a CSV source is written, and what its first line says."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, replace

from .lines import UTF8_BOM, is_utf8

DEFAULT_NULL_VALUES = ("", "NA", "N/A", "n/a", "#N/A", "NULL", "null", "NaN", "nan", "None")

_OTHER_DELIMITERS = (";", "\t", "|", ",")


@dataclass(frozen=True, slots=True)
class CsvDialect:
    r"""How a CSV source is written.

    Attributes:
        delimiter: the one ASCII character between two fields.
        quote: the one ASCII character around a quoted field, doubled inside it; None where
            quotation marks mean nothing.
        escape: a character that takes the meaning from the next one; None for none.
        header: whether the source's first record holds the column names.
        names: the column names in the source's order; empty until the header has been read.
        null_values: what stands for null. In a text column only without quotes, so that `""`
            is an empty text; in any other column with quotes, too.
        newlines_in_values: whether quoted fields may hold newlines. Such a source has no line
            ends that are known to end a record, so it is read in sequence.

    >>> CsvDialect(delimiter=";").delimiter
    ';'
    """

    delimiter: str = ","
    quote: str | None = '"'
    escape: str | None = None
    header: bool = True
    names: tuple[str, ...] = ()
    null_values: tuple[str, ...] = DEFAULT_NULL_VALUES
    newlines_in_values: bool = False

    def __post_init__(self) -> None:
        marks = {"delimiter": self.delimiter, "quote": self.quote, "escape": self.escape}
        given = {name: mark for name, mark in marks.items() if mark is not None}
        for name, mark in given.items():
            if len(mark) != 1 or not mark.isascii() or mark in "\r\n\0":
                raise ValueError(f"csv {name}: expected one ASCII character, got {mark!r}")
        if len(set(given.values())) != len(given):
            raise ValueError(f"csv dialect: expected different characters, got {given}")
        repeated = sorted({name for name in self.names if self.names.count(name) > 1})
        if repeated:
            raise ValueError(f"csv columns: expected each name once, got {repeated} more than once")

    def with_names(self, names: tuple[str, ...]) -> CsvDialect:
        """Returns the same dialect with these column names."""
        return replace(self, names=names)


@dataclass(frozen=True, slots=True)
class CsvHeader:
    """The column names of a CSV source and the offset of its first data byte."""

    names: tuple[str, ...]
    num_bytes: int


def sniff_header(sample: bytes, dialect: CsvDialect) -> CsvHeader:
    r"""Turns the first bytes of a CSV source into its column names.

    A byte order mark and a carriage return belong to no name; white space around a name is kept.
    Without a header the names are those of the dialect, or else f0, f1, ...

    Args:
        sample: the start of the source, with at least its first line.
        dialect: how the source is written.

    Raises:
        ValueError: there is no first line, or a name is missing or comes twice.

    >>> sniff_header(b'\xef\xbb\xbfage,"last name"\r\n1,2\r\n', CsvDialect())
    CsvHeader(names=('age', 'last name'), num_bytes=20)
    """
    start = len(UTF8_BOM) if sample.startswith(UTF8_BOM) else 0
    fields, num_bytes = _first_record(sample[start:], dialect)
    if not dialect.header:
        names = dialect.names or tuple(f"f{index}" for index in range(len(fields)))
        return CsvHeader(names, start)
    _check_names(fields)
    return CsvHeader(tuple(fields), start + num_bytes)


def count_fields(text: bytes, dialect: CsvDialect) -> int:
    r"""How many fields the first record of a text has.

    >>> count_fields(b'1,"2,3",4\n5\n', CsvDialect())
    3
    """
    return len(_first_record(text, replace(dialect, header=False))[0])


def _first_record(text: bytes, dialect: CsvDialect) -> tuple[list[str], int]:
    """Returns the fields of the first record that is not blank, and where the next one begins."""
    if dialect.header and not is_utf8(text[: text.find(b"\n") + 1]):
        raise ValueError("csv header: expected UTF-8, got other bytes; convert the file to UTF-8")
    lines = io.StringIO(text.decode("utf-8", "replace"), newline="")
    reader = csv.reader(
        lines,
        delimiter=dialect.delimiter,
        quotechar=dialect.quote,
        escapechar=dialect.escape,
        quoting=csv.QUOTE_NONE if dialect.quote is None else csv.QUOTE_MINIMAL,
    )
    for fields in reader:
        if fields:
            return fields, _end_of_lines(text, reader.line_num)
    raise ValueError("csv header: expected a first line with column names, got an empty source")


def _end_of_lines(text: bytes, count: int) -> int:
    """Returns the offset after this many lines, or the end of the text."""
    end = 0
    for _ in range(count):
        cut = text.find(b"\n", end)
        if cut < 0:
            return len(text)
        end = cut + 1
    return end


def _check_names(fields: list[str]) -> None:
    missing = [index for index, name in enumerate(fields) if not name.strip()]
    repeated = sorted({name for name in fields if fields.count(name) > 1})
    if missing:
        raise ValueError(
            "csv header: expected a name for every column, got none for column "
            f"{missing[0] + 1}. Name it in the first line; pandas leaves out the name of its "
            "index: write the file with index=False."
        )
    if repeated:
        raise ValueError(
            f"csv header: expected each column name once, got {repeated} more than once; "
            f"if the first line holds data, name the columns with --csv-header A,B,... "
            "(source.csv.header: false and source.csv.names)"
        )


def likely_delimiter(sample: bytes, dialect: CsvDialect) -> str | None:
    r"""Returns the delimiter that the first line rather seems to use, or None if there is no other.

    For the message of an error: the header has one column, and another delimiter splits it.

    >>> likely_delimiter(b"age;plan;city\n1;2;3\n", CsvDialect())
    ';'
    """
    first = sample.removeprefix(UTF8_BOM).split(b"\n", 1)[0].decode("utf-8", "replace")
    if dialect.delimiter in first:
        return None
    others = [mark for mark in _OTHER_DELIMITERS if mark in first]
    return max(others, key=first.count) if others else None
