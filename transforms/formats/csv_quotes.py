r"""Where the records of a CSV block begin and end, with quoted fields taken into account.

The grammar is the one that `pyarrow.csv` parses: a quotation mark opens a quoted field only as a
field's first character; inside, two marks are one; text after the closing mark belongs to the
field. What pyarrow would do with a quoted field that never closes, namely to take the following
lines into it without a word, is what this module is for: it finds such lines.

Nearly all lines are *regular*: they have no quotation marks, or only such as stand at a field's
edge or, inside a quoted field, in twos. That is checked for all lines at once; the others are
matched one by one.
"""

from __future__ import annotations

import re
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from .csv_dialect import CsvDialect
from .lines import Lines, split_lines

_Indices = npt.NDArray[np.int64]


@lru_cache(maxsize=16)
def _record_pattern(dialect: CsvDialect, newlines: bool) -> re.Pattern[bytes]:
    """Returns the pattern of one whole record; possessive, so that it runs in linear time."""
    field, _ = _field_patterns(dialect, newlines)
    record = b"%b(?:%b%b)*+(?=\\r?\\n|\\r?\\Z)" % (field, _delimiter(dialect), field)
    return re.compile(record, re.DOTALL)


@lru_cache(maxsize=16)
def _open_pattern(dialect: CsvDialect) -> re.Pattern[bytes]:
    """Returns the pattern of a record with a quoted field that goes on behind the text's end."""
    field, open_field = _field_patterns(dialect, newlines=True)
    record = b"(?:%b%b)*+%b\\Z" % (field, _delimiter(dialect), open_field)
    return re.compile(record, re.DOTALL)


def _delimiter(dialect: CsvDialect) -> bytes:
    return re.escape(dialect.delimiter.encode())


def _field_patterns(dialect: CsvDialect, newlines: bool) -> tuple[bytes, bytes]:
    """Returns the patterns of one whole field and of a quoted one without its last mark."""
    delimiter = _delimiter(dialect)
    quote = re.escape(dialect.quote.encode()) if dialect.quote else b""
    escape = re.escape(dialect.escape.encode()) if dialect.escape else b""
    escaped = b"|" + escape + b"." if escape else b""
    plain = b"(?:[^%b\\r\\n%b]%b)" % (delimiter, escape, escaped)
    if not quote:
        return plain + b"*+", b"(?!)"
    line_end = b"" if newlines else b"\\r\\n"
    inside = b"(?:[^%b%b%b]|%b%b%b)*+" % (quote, escape, line_end, quote, quote, escaped)
    field = b"(?:%b%b%b%b*+|(?!%b)%b*+)" % (quote, inside, quote, plain, quote, plain)
    return field, quote + inside


def unsound_records(lines: Lines, dialect: CsvDialect) -> _Indices:
    r"""Returns the records whose quoted fields do not close, or that hold a stray carriage return.

    >>> unsound_records(split_lines(b'a,"b"\n"c,d\n5" disk,"e""f"\n'), CsvDialect()).tolist()
    [1]
    """
    pattern = _record_pattern(dialect, dialect.newlines_in_values)
    return np.array(
        [
            index
            for index in irregular_lines(lines, dialect).tolist()
            if not _matches(pattern, lines[index])
        ],
        np.int64,
    )


def _matches(pattern: re.Pattern[bytes], record: bytes) -> bool:
    match = pattern.match(record)
    return match is not None and match.end() == len(record)


def irregular_lines(lines: Lines, dialect: CsvDialect) -> _Indices:
    r"""Returns the lines that must be matched: with marks inside fields, escapes, `\r`."""
    data = np.frombuffer(lines.block, np.uint8)
    irregular = np.zeros(len(lines), bool)
    if not len(lines):
        return np.flatnonzero(irregular)
    for mark in (b"\r", (dialect.escape or "").encode()):
        if mark and mark in lines.block:
            places = np.flatnonzero(data == ord(mark))
            owners = np.searchsorted(lines.starts, places, side="right") - 1
            inside = (owners >= 0) & (places < lines.ends[owners])
            irregular[owners[inside]] = True
    quote = (dialect.quote or "").encode()
    if quote and quote in lines.block:
        irregular |= _oddly_quoted(lines, data, ord(quote), ord(dialect.delimiter))
    return np.flatnonzero(irregular)


def _oddly_quoted(
    lines: Lines, data: npt.NDArray[np.uint8], quote: int, delimiter: int
) -> npt.NDArray[np.bool_]:
    """Marks lines whose quotation marks are not pairs around whole fields.

    A mark that is written as two ends one pair and begins the next.
    """
    places = np.flatnonzero(data == quote)
    owners = np.searchsorted(lines.starts, places, side="right") - 1
    odd = np.bincount(owners, minlength=len(lines)) % 2 == 1
    if odd.any():
        even = ~odd[owners]
        places, owners = places[even], owners[even]
    opening, closing, owners = places[::2], places[1::2], owners[::2]
    doubled = (opening[1:] == closing[:-1] + 1) & (owners[1:] == owners[:-1])
    after = np.minimum(closing + 1, len(data) - 1)
    opens = (opening == lines.starts[owners]) | (data[opening - 1] == delimiter)
    closes = (closing + 1 == lines.ends[owners]) | (data[after] == delimiter)
    opens[1:] |= doubled
    closes[:-1] |= doubled
    odd[owners[~(opens & closes)]] = True
    return odd


def split_records(block: bytes, dialect: CsvDialect) -> Lines:
    r"""Turns a block that ends at a record's end into its records.

    Without newlines in values these are its non-empty lines. Otherwise a quoted field may go on
    over line ends; a line that opens one which closes nowhere is a record of its own, and the
    next line starts afresh.

    >>> dialect = CsvDialect(newlines_in_values=True)
    >>> records = split_records(b'a,"b\nc"\nd,"e\nf\n', dialect)
    >>> [records[i] for i in range(len(records))]
    [b'a,"b\nc"', b'd,"e', b'f']
    """
    lines = split_lines(block, blank_is_space=False)
    if not dialect.newlines_in_values:
        return lines
    starts, ends = lines.starts.copy(), lines.ends.copy()
    keep = np.ones(len(lines), bool)
    pattern, position = _record_pattern(dialect, True), 0
    for index in irregular_lines(lines, dialect).tolist():
        if starts[index] < position:
            continue
        match = pattern.match(block, starts[index])
        if match is not None:
            position = match.end()
            after = int(np.searchsorted(starts, position, side="left"))
            keep[index + 1 : max(after, index + 1)] = False
            ends[index] = position
    return Lines(block, starts[keep], ends[keep])


def open_record_start(block: bytes, dialect: CsvDialect) -> int | None:
    """Returns where the first record starts that does not close in this block; None if all close.

    The block must start at a record's start; its last line may be incomplete.
    """
    lines = split_lines(block, blank_is_space=False)
    pattern, open_pattern, position = _record_pattern(dialect, True), _open_pattern(dialect), 0
    for index in irregular_lines(lines, dialect).tolist():
        start = int(lines.starts[index])
        if start < position:
            continue
        match = pattern.match(block, start)
        if match is None and open_pattern.match(block, start):
            return start
        position = match.end() if match else int(lines.ends[index])
    return None
