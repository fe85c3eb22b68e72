r"""Turns a block of CSV into one batch and its malformed records.

`pyarrow.csv` parses and converts a piece of the block in one go; it says which rows have a wrong
number of fields. Where a value does not convert, that record is read alone; where there are more,
the piece is read as text and cast with a mask. Reading as text accepts whatever the direct way
accepts, with equal values, so the verdict on a record does not depend on its neighbours.

What pyarrow does not look at is checked beforehand: invalid UTF-8, quoted fields that do not close
and would swallow the following lines, stray carriage returns.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as pa_csv

from .casts import Cast, cast_checked
from .csv_dialect import CsvDialect, sniff_header
from .csv_quotes import split_records, unsound_records
from .csv_schema import infer_csv_schema
from .lines import UTF8_BOM, Lines, lines_not_utf8
from .records import Decoded, Part, Reject, assemble
from .settled import settled

_Indices = npt.NDArray[np.int64]

_PIECE_BYTES = 2**20  # what one value that does not convert makes us parse again
_ROW = re.compile(r"In CSV column #\d+: Row #(\d+)")
_INFINITE = r"(?i)inf"
_WHOLE_NUMBER = re.compile(r"[+-]?\d+")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_SHOWN_CHARACTERS = 60  # of an offending value in a message
_TRUE_VALUES = ("1", "True", "TRUE", "true")
_FALSE_VALUES = ("0", "False", "FALSE", "false")
_DIRECT = (
    pa.types.is_integer,
    pa.types.is_boolean,
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_date32,
    pa.types.is_timestamp,
    pa.types.is_decimal128,
)


def decode_csv(block: bytes, dialect: CsvDialect, schema: pa.Schema | None = None) -> Decoded:
    r"""Turns a block of CSV into one batch and its malformed records.

    See `CsvDecoder`, which is the same for many blocks. The block is data only, unless the
    dialect has a header but no names: then its first line is the header.

    >>> decoded = decode_csv(b"a,b\n1,x\n2\n3,y\n", CsvDialect())
    >>> decoded.batch.to_pydict()
    {'a': [1, 3], 'b': ['x', 'y']}
    >>> [(reject.ordinal, reject.error_message) for reject in decoded.rejects]
    [(1, 'expected 2 fields, got 1')]
    """
    if not dialect.names:
        header = sniff_header(block, dialect)
        dialect, block = dialect.with_names(header.names), block[header.num_bytes :]
    decoder = CsvDecoder(dialect, schema or settled(infer_csv_schema(block, dialect)))
    return decoder.decode(block.removeprefix(UTF8_BOM))


class CsvDecoder:
    """Turns blocks of CSV into batches of one schema.

    A record is a line that is not empty (with `newlines_in_values`, the lines up to the one where
    its last quoted field closes). It must have as many fields as the dialect has names. White
    space around numbers, dates and booleans does not count. Booleans are 1, True, TRUE, true and
    0, False, FALSE, false; binary columns hold base64 text. A number too large for a double is
    malformed; `inf` is infinity.

    Args:
        dialect: how the source is written, with its column names.
        schema: the columns to read, in the order wanted. Columns that the schema lacks are not
            converted, but must be there and be valid UTF-8.

    Raises:
        TypeError: the schema has a type that CSV cannot give.
        ValueError: the dialect has no names, the schema has a column that it does not name, or no
            column.
    """

    def __init__(self, dialect: CsvDialect, schema: pa.Schema) -> None:
        missing = [name for name in schema.names if name not in dialect.names]
        if missing or not dialect.names:
            raise ValueError(
                f"expected columns {missing} in the source, which has {list(dialect.names)}"
            )
        nested = [field for field in schema if pa.types.is_nested(field.type)]
        if nested:
            raise TypeError(
                f"column {nested[0].name!r}: expected a type that CSV can hold, "
                f"got {nested[0].type}"
            )
        if not len(schema):
            raise ValueError("expected a schema with at least one column, got none")
        self.schema = pa.schema([field.with_nullable(True) for field in schema])
        self._dialect = dialect
        self._direct = {field.name: _direct_type(field.type) for field in self.schema}
        self._texts = {field.name: pa.string() for field in self.schema}
        self._is_dirty = False  # the last piece had to be read as text: so begin with that

    def decode(self, block: bytes) -> Decoded:
        """Turns one block, cut at record ends, into its good rows and its malformed records."""
        parts: list[Part] = []
        rejects: list[Reject] = []
        records = split_records(block, self._dialect)
        for first, piece in _pieces(records):
            self._decode_piece(piece, first, parts, rejects)
        return assemble(parts, rejects)

    def _decode_piece(
        self, records: Lines, first_ordinal: int, parts: list[Part], rejects: list[Reject]
    ) -> None:
        """Appends the rows and the rejects of some records, whose first has this ordinal."""
        faults: dict[int, _Fault] = {}
        for index in lines_not_utf8(records).tolist():
            faults[index] = _Fault(
                "invalid_utf8", "UnicodeDecodeError", "expected UTF-8, got other bytes"
            )
        for index in unsound_records(records, self._dialect).tolist():
            faults.setdefault(index, self._unsound(records[index]))
        left = _without(np.arange(len(records)), faults)
        for indices, batch in self._read(records, left, faults):
            good, batch = self._convert(indices, batch, faults)
            parts.append(Part(good + first_ordinal, batch))
        rejects += [
            Reject(
                first_ordinal + index, fault.code, fault.error_class, fault.message, records[index]
            )
            for index, fault in faults.items()
        ]

    def _read(
        self, records: Lines, indices: _Indices, faults: dict[int, _Fault]
    ) -> list[tuple[_Indices, pa.RecordBatch]]:
        """Parses records with their own types; if that fails twice, as text.

        After the first failure the record that the error names is read alone: where few records
        are malformed, the others then parse.
        """
        found: list[tuple[_Indices, pa.RecordBatch]] = []
        for types in (
            (self._texts,) if self._is_dirty else (self._direct, self._direct, self._texts)
        ):
            try:
                batch, skipped = self._parse(records.take(indices).join(), types)
            except pa.ArrowInvalid as error:
                if types is self._texts:
                    return found + self._read_halves(records, indices, faults)
                match = _ROW.search(str(error))
                if match and not found and len(indices) > 1:
                    row = int(match[1]) - 1
                    found += self._read(records, indices[row : row + 1], faults)
                    indices = np.delete(indices, row)
                continue
            if types is not self._texts and any(_has_infinity(column) for column in batch.columns):
                continue
            if batch.num_rows + len(skipped) != len(indices):
                return found + self._read_halves(records, indices, faults)
            for row, num_fields in skipped.items():
                faults[int(indices[row])] = _wrong_field_count(len(self._dialect.names), num_fields)
            return [*found, (np.delete(indices, list(skipped)), batch)] if batch.num_rows else found
        return found

    def _read_halves(
        self, records: Lines, indices: _Indices, faults: dict[int, _Fault]
    ) -> list[tuple[_Indices, pa.RecordBatch]]:
        """Parses the two halves on their own; a single record that does not parse is malformed."""
        if len(indices) < 2:
            faults.update({index: self._unsound(records[index]) for index in indices.tolist()})
            return []
        halves = np.array_split(indices, 2)
        return [found for half in halves for found in self._read(records, half, faults)]

    def _unsound(self, record: bytes) -> _Fault:
        quote = (self._dialect.quote or "").encode()
        if quote and quote in record and not self._dialect.newlines_in_values:
            return replace(_UNSOUND, message=_UNSOUND.message + _MAY_GO_ON)
        return _UNSOUND

    def _parse(
        self, text: bytes, types: dict[str, pa.DataType]
    ) -> tuple[pa.RecordBatch, dict[int, int]]:
        """Parses records; returns the rows, and the field counts of records without a row."""
        skipped: dict[int, int] = {}

        def skip(row: pa_csv.InvalidRow) -> str:
            skipped[row.number - 1] = row.actual_columns
            return "skip"

        table = pa_csv.read_csv(
            pa.BufferReader(text),
            pa_csv.ReadOptions(
                use_threads=False, column_names=self._dialect.names, block_size=len(text) + 1
            ),
            pa_csv.ParseOptions(
                delimiter=self._dialect.delimiter,
                quote_char=self._dialect.quote or False,
                escape_char=self._dialect.escape or False,
                newlines_in_values=self._dialect.newlines_in_values,
                invalid_row_handler=skip,
            ),
            pa_csv.ConvertOptions(
                check_utf8=False,  # the whole block was checked
                column_types=types,
                include_columns=list(types),
                null_values=self._dialect.null_values,
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
            ),
        )
        if not table.num_rows:
            return pa.record_batch([[]] * len(table.schema), schema=table.schema), skipped
        return table.combine_chunks().to_batches()[0], skipped

    def _convert(
        self, indices: _Indices, batch: pa.RecordBatch, faults: dict[int, _Fault]
    ) -> tuple[_Indices, pa.RecordBatch]:
        """Casts the columns that were read as text; values that do not fit make faults."""
        if batch.schema == self.schema:
            return indices, batch
        known = len(faults)
        good, arrays = np.ones(len(indices), bool), []
        for field, column in zip(self.schema, batch.columns, strict=True):
            cast = (
                Cast(column) if column.type == field.type else self._from_text(column, field.type)
            )
            arrays.append(cast.array)
            if cast.bad is not None:
                good &= ~cast.bad
                for row in np.flatnonzero(cast.bad).tolist():
                    faults.setdefault(int(indices[row]), _misfit(field, column[row].as_py()))
        self._is_dirty = len(faults) > known + 1
        batch = pa.RecordBatch.from_arrays(arrays, schema=self.schema)
        return indices[good], batch if good.all() else batch.filter(pa.array(good))

    def _from_text(self, texts: pa.Array, target: pa.DataType) -> Cast:
        """Casts a text column; accepts all that the direct way accepts, and nulls in quotes."""
        if pa.types.is_dictionary(target):
            return cast_checked(texts, target)
        cast = _booleans(texts) if pa.types.is_boolean(target) else _cast_number(texts, target)
        if cast.bad is None:
            return cast
        bad = pa.array(cast.bad)
        trimmed = pc.ascii_trim_whitespace(texts.filter(bad))
        nulls = pc.is_in(trimmed, pa.array(self._dialect.null_values, pa.string()))
        trimmed = pc.if_else(nulls, pa.scalar(None, pa.string()), trimmed)
        again = _booleans(trimmed) if pa.types.is_boolean(target) else _cast_number(trimmed, target)
        still_bad = cast.bad.copy()
        still_bad[cast.bad] = False if again.bad is None else again.bad
        return Cast(pc.replace_with_mask(cast.array, bad, again.array), still_bad)


@dataclass(frozen=True, slots=True)
class _Fault:
    code: str
    error_class: str
    message: str


_UNSOUND = _Fault(
    "malformed_csv",
    "ValueError",
    "expected quoted fields that close, got one that stays open or a stray carriage return",
)
_MAY_GO_ON = (
    "; if quoted fields may hold line breaks, give --csv-newlines-in-values "
    "(source.csv.newlines_in_values)"
)


def _wrong_field_count(expected: int, actual: int) -> _Fault:
    return _Fault("wrong_field_count", "ValueError", f"expected {expected} fields, got {actual}")


def _misfit(field: pa.Field, text: str) -> _Fault:
    is_number = pa.types.is_integer(field.type) or pa.types.is_floating(field.type)
    pattern = _WHOLE_NUMBER if pa.types.is_integer(field.type) else _NUMBER
    code = "number_out_of_range" if is_number and pattern.fullmatch(text.strip()) else "wrong_type"
    shown = text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "..."
    return _Fault(
        code, "ArrowInvalid", f"column {field.name!r}: expected {field.type}, got {shown!r}"
    )


def _booleans(texts: pa.Array) -> Cast:
    true = pc.is_in(texts, pa.array(_TRUE_VALUES))
    known = pc.or_(true, pc.is_in(texts, pa.array(_FALSE_VALUES)))
    bad = pc.and_not(texts.is_valid(), known).to_numpy(zero_copy_only=False)
    values = pc.if_else(known, true, pa.scalar(None, pa.bool_()))
    return Cast(values, bad if bad.any() else None)


def _cast_number(texts: pa.Array, target: pa.DataType) -> Cast:
    """Casts text; a number too large for its float type does not fit, the word `inf` does."""
    cast = cast_checked(texts, target)
    if not _has_infinity(cast.array):
        return cast
    overflow = pc.and_(pc.is_inf(cast.array), pc.invert(pc.match_substring_regex(texts, _INFINITE)))
    bad = overflow.fill_null(False).to_numpy(zero_copy_only=False)
    return Cast(cast.array, bad if cast.bad is None else bad | cast.bad)


def _has_infinity(column: pa.Array) -> bool:
    if not pa.types.is_floating(column.type):
        return False
    return bool(np.isinf(column.to_numpy(zero_copy_only=False)).any())


def _direct_type(data_type: pa.DataType) -> pa.DataType:
    """Returns the type with which a column is read at first: its own, or text."""
    is_direct = any(is_type(data_type) for is_type in _DIRECT) or data_type in (
        pa.float32(),
        pa.float64(),
    )
    return data_type if is_direct else pa.string()


def _without(indices: _Indices, faults: dict[int, _Fault]) -> _Indices:
    return np.delete(indices, list(faults)) if faults else indices


def _pieces(records: Lines) -> Iterator[tuple[int, Lines]]:
    """Cuts a block into pieces of about `_PIECE_BYTES`; yields each one's first record's number."""
    limits = np.arange(_PIECE_BYTES, len(records.block), _PIECE_BYTES)
    cuts = np.unique(np.concatenate([[0], np.searchsorted(records.starts, limits), [len(records)]]))
    for first, stop in pairwise(cuts.tolist()):
        begin, end = int(records.starts[first]), int(records.ends[stop - 1])
        block = records.block[begin:end] + b"\n"
        yield (
            first,
            Lines(block, records.starts[first:stop] - begin, records.ends[first:stop] - begin),
        )
