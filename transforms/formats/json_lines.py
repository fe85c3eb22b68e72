r"""Turns a block of JSON lines into one batch and its malformed records.

Three ways, from fast to sure, which give the same verdict on every record:

1. `json_uniform` takes lines that look alike (three or four times as fast as the second way);
2. `pyarrow.json` takes the others, and all nested ones, in pieces of 1 MB;
3. where a line looks suspicious, or a piece fails, `json_check` judges its lines one by one, and
   pyarrow parses those that are left.

`pyarrow.json` alone would accept NaN, invalid UTF-8, two objects on one line and an object over
several lines. The first two are looked for beforehand. As to the others: each line is made sure to
start with `{` and to end with `}`. No object can then go on over a line's end, because no JSON
value may follow `}` directly and a raw newline in a string is an error; so every line holds at
least one object, and as many rows as lines mean exactly one object in each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import json as pa_json

from .casts import cast_checked
from .json_check import MAX_JSON_DEPTH, Fault, RecordJudge
from .json_schema import infer_json_schema, wire_schema
from .json_uniform import UniformParser
from .lines import UTF8_BOM, Lines, lines_not_utf8, split_lines
from .records import Decoded, Part, Reject, assemble
from .settled import settled

_Indices = npt.NDArray[np.int64]

_PIECE_BYTES = 2**20  # a call of pyarrow.json costs 0.2 ms; a failed one makes us judge its lines
_FEW_LINES = 64  # judging so many lines costs as much as one call of pyarrow.json


def decode_json_lines(block: bytes, schema: pa.Schema | None = None) -> Decoded:
    r"""Turns a block of JSON lines into one batch and its malformed records.

    See `JsonLinesDecoder`, which is the same for many blocks of one schema. Here a byte order mark
    at the start is no part of the first record.

    >>> decoded = decode_json_lines(b'{"a": 1}\nnot json\n{"a": 2}\n')
    >>> decoded.batch.to_pydict(), decoded.ordinals.to_pylist()
    ({'a': [1, 2]}, [0, 2])
    >>> [(reject.ordinal, reject.error_code, reject.payload) for reject in decoded.rejects]
    [(1, 'malformed_json', b'not json')]
    """
    decoder = JsonLinesDecoder(schema or settled(infer_json_schema(block)))
    return decoder.decode(block.removeprefix(UTF8_BOM))


class JsonLinesDecoder:
    """Turns blocks of JSON lines into batches of one schema.

    A record is a non-blank line and must be one JSON object. A member that the schema lacks is
    ignored (it only has to be valid JSON); a column that the record lacks is null, as is one that
    it gives as null: which columns may be null is for the contract to say. No value is converted
    silently: a string in a number column, a fraction in an integer column, an integer out of its
    range or a number too large for a double make the record malformed. Timestamps, dates, times
    and decimals are read from strings, binary columns from base64 text.

    Args:
        schema: the columns, in order.

    Raises:
        TypeError: the schema holds a type that JSON lines cannot give.
        ValueError: the schema has no columns.
    """

    def __init__(self, schema: pa.Schema) -> None:
        if len(schema) == 0:
            raise ValueError("expected a schema with at least one column, got none")
        self.schema = pa.schema([field.with_nullable(True) for field in schema])
        self._wire = wire_schema(schema)
        self._judge = RecordJudge(self._wire)
        self._uniform = UniformParser(self._wire)

    def decode(self, block: bytes) -> Decoded:
        """Turns one block, cut at line ends, into its good rows and its malformed records."""
        parts: list[Part] = []
        rejects: list[Reject] = []
        ordinal = 0
        for piece in _pieces(block):
            lines = split_lines(piece)
            self._decode_piece(lines, ordinal, parts, rejects)
            ordinal += len(lines)
        return assemble(parts, rejects)

    def _decode_piece(
        self, lines: Lines, first_ordinal: int, parts: list[Part], rejects: list[Reject]
    ) -> None:
        """Appends the rows and the rejects of some lines, whose first has this ordinal."""
        left = np.ones(len(lines), bool)
        found: list[tuple[_Indices, pa.RecordBatch]] = []
        for uniform in self._uniform.parse(lines):
            left[uniform.indices] = False
            found.append((uniform.indices, uniform.batch))
        faults: dict[int, Fault] = {}
        if left.any():
            found += self._parse_rest(lines, np.flatnonzero(left), faults)
        for indices, batch in found:
            good, batch = self._conform_types(indices, batch, faults)
            parts.append(Part(good + first_ordinal, batch))
        rejects += [_reject(lines, index, first_ordinal, fault) for index, fault in faults.items()]

    def _parse_rest(
        self, lines: Lines, indices: _Indices, faults: dict[int, Fault]
    ) -> list[tuple[_Indices, pa.RecordBatch]]:
        """Parses lines after the suspicious ones among them have been judged."""
        if len(indices) < len(lines):
            suspects = indices[_suspects(split_lines(lines.take(indices).join()))]
        else:
            suspects = _suspects(lines)
        indices = self._judged(lines, suspects, indices, faults, self._judge.fault)
        return self._parse(lines, indices, faults)

    def _parse(
        self, lines: Lines, indices: _Indices, faults: dict[int, Fault]
    ) -> list[tuple[_Indices, pa.RecordBatch]]:
        """Parses lines: all at once, without their malformed ones, or in ever smaller parts."""
        quick = (None, self._judge.syntax_fault) if len(indices) > _FEW_LINES else ()
        for judge in (*quick, self._judge.fault, self._judge.repeated_key):
            if judge is not None:
                indices = self._judged(lines, indices, indices, faults, judge)
            batch = self._try(lines, indices)
            if batch is not None:
                return [(indices, batch)] if batch.num_rows else []
        if len(indices) == 1:
            faults[int(indices[0])] = Fault(
                "malformed_json", "ArrowInvalid", "expected one JSON object"
            )
            return []
        halves = np.array_split(indices, 2)
        return [found for half in halves for found in self._parse(lines, half, faults)]

    def _judged(
        self,
        lines: Lines,
        suspects: _Indices,
        indices: _Indices,
        faults: dict[int, Fault],
        judge: Callable[[bytes], Fault | None],
    ) -> _Indices:
        """Judges the suspects one by one; returns the indices without the malformed ones."""
        found = {i: fault for i in suspects.tolist() if (fault := judge(lines[i])) is not None}
        faults.update(found)
        return np.setdiff1d(indices, list(found), assume_unique=True) if found else indices

    def _try(self, lines: Lines, indices: _Indices) -> pa.RecordBatch | None:
        """Parses lines with pyarrow; None where it fails or does not find one row per line."""
        if not len(indices):
            return pa.record_batch([[]] * len(self._wire), schema=self._wire)
        text = lines.take(indices).join()
        read = pa_json.ReadOptions(use_threads=False, block_size=len(text) + 1)
        parse = pa_json.ParseOptions(explicit_schema=self._wire, unexpected_field_behavior="ignore")
        try:
            table = pa_json.read_json(pa.BufferReader(text), read, parse)
        except pa.ArrowInvalid:
            return None
        if table.num_rows != len(indices):
            return None
        return table.select(self._wire.names).combine_chunks().to_batches()[0]

    def _conform_types(
        self, indices: _Indices, batch: pa.RecordBatch, faults: dict[int, Fault]
    ) -> tuple[_Indices, pa.RecordBatch]:
        """Casts JSON's own types to the schema's; records whose values do not fit become faults."""
        if self._wire == self.schema:
            return indices, batch
        good = np.ones(len(indices), bool)
        arrays = []
        for field, column in zip(self.schema, batch.columns, strict=True):
            cast = cast_checked(column, field.type)
            arrays.append(cast.array)
            if cast.bad is not None:
                good &= ~cast.bad
                for row in np.flatnonzero(cast.bad).tolist():
                    faults.setdefault(int(indices[row]), _misfit(field, column[row]))
        batch = pa.RecordBatch.from_arrays(arrays, schema=self.schema)
        return indices[good], batch if good.all() else batch.filter(pa.array(good))


def _misfit(field: pa.Field, value: pa.Scalar) -> Fault:
    code = "wrong_type" if pa.types.is_string(value.type) else "number_out_of_range"
    message = f"column {field.name!r}: expected {field.type}, got {value.as_py()!r}"
    return Fault(code, "ArrowInvalid", message)


def _reject(lines: Lines, index: int, first_ordinal: int, fault: Fault) -> Reject:
    return Reject(first_ordinal + index, fault.code, fault.error_class, fault.message, lines[index])


def _pieces(block: bytes) -> Iterator[bytes]:
    """Cuts a block at line ends into pieces of about `_PIECE_BYTES`."""
    start = 0
    while start < len(block):
        cut = block.find(b"\n", min(start + _PIECE_BYTES, len(block)))
        stop = len(block) if cut < 0 else cut + 1
        yield block[start:stop]
        start = stop


def _suspects(lines: Lines) -> _Indices:
    """Returns the lines that pyarrow might accept although they are malformed."""
    data = np.frombuffer(lines.block, np.uint8)
    found = [np.flatnonzero((data[lines.starts] != ord("{")) | (data[lines.ends - 1] != ord("}")))]
    if b"\0" in lines.block:
        found.append(lines.holding(np.flatnonzero(data == 0)))
    tokens = ((data[:-1] == ord("N")) & (data[1:] == ord("a"))) | (
        (data[:-1] == ord("I")) & (data[1:] == ord("n"))
    )
    if tokens.any():
        found.append(lines.holding(np.flatnonzero(tokens)))
    found.append(lines_not_utf8(lines))
    opening = np.flatnonzero((data | 0x20) == ord("{"))  # { and [
    if len(opening) > len(lines) + MAX_JSON_DEPTH:
        owners = np.searchsorted(lines.starts, opening, side="right") - 1
        found.append(np.flatnonzero(np.bincount(owners, minlength=len(lines)) > MAX_JSON_DEPTH))
    return np.unique(np.concatenate(found))
