r"""The fast way through JSON lines that all look alike.

`UniformParser` learns the shape of the lines (see `json_template`), finds all values from the
positions of the quotation marks, compares every literal byte, checks every value against JSON's
grammar, and lets Arrow convert the values where they stand. It accepts a line only if all of that
holds, so an accepted line is valid JSON of the learnt shape with values of the schema's types;
every other line, broken or just different, is left to the general parser. Nothing is guessed: a
wrong template accepts nothing. Lines with nested values are never accepted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from .casts import cast_checked
from .json_template import Anchors, learn_template
from .lines import Lines, lines_not_utf8

_Ints = npt.NDArray[np.int64]  # what numpy need not convert before it indexes
_Mask = npt.NDArray[np.bool_]

_PADDING = b"\n" * 16  # so that sixteen bytes can be loaded at the last byte of a block, too
_MAX_TEMPLATES = 4  # shapes tried for one block; what fits none goes to the general parser
_MIN_LINES = 16  # below this a template costs more than the general parser
_MIN_SHARE = 0.25  # a parser whose templates fit fewer lines than this stops trying
_CONTROL = re.compile(rb"[\x00-\x1f]")
_NUMBERS: Final = {pa.float64(): np.float64, pa.int64(): np.int64, pa.uint64(): np.uint64}


_AFTER_ZERO: Final = np.isin(np.arange(256), list(b",}.eE \t\r\n"))  # by byte
_NULL, _TRUE, _FALS = (int.from_bytes(token, "little") for token in (b"null", b"true", b"fals"))


@dataclass(frozen=True, slots=True)
class Uniform:
    """Lines that fit one template: `batch` row i is line `indices[i]`."""

    indices: npt.NDArray[np.int64]
    batch: pa.RecordBatch


class UniformParser:
    r"""Turns lines that look alike into batches of a flat schema.

    Templates are kept from call to call, and a parser that meets lines of ever new shapes stops
    trying; both change only the speed, so threads may share a parser.

    Args:
        schema: the wanted columns, of the types int64, uint64, float64, bool and string.
            Members that the schema lacks are checked and dropped; columns that a line lacks
            are null.

    >>> from .lines import split_lines
    >>> lines = split_lines(b'{"a":1}\n' * 20 + b'{"a":x}\n')
    >>> [found] = UniformParser(pa.schema({"a": pa.int64()})).parse(lines)
    >>> found.batch.num_rows
    20
    """

    def __init__(self, schema: pa.Schema) -> None:
        self._schema = schema
        self._known: list[Anchors] = []
        self._seen = self._accepted = 0
        simple = (*_NUMBERS, pa.bool_(), pa.string())
        self._possible = len(schema) > 0 and all(field.type in simple for field in schema)

    def parse(self, lines: Lines) -> list[Uniform]:
        """Returns the lines that fit a template, as one batch per template."""
        if (
            not self._possible
            or len(lines) < _MIN_LINES
            or self._accepted < _MIN_SHARE * self._seen
        ):
            return []
        block = _Block(lines)
        left, found = block.usable.copy(), []
        known = iter(self._known)
        for _ in range(_MAX_TEMPLATES):
            if np.count_nonzero(left) < _MIN_LINES:
                break
            first = int(np.argmax(left))
            anchors = next(known, None) or self._learn(lines[first])
            uniform = _Reading(block, anchors, self._schema).read(left) if anchors else None
            if anchors and (uniform is None or len(uniform.indices) < _MIN_LINES):
                self._known = [other for other in self._known if other is not anchors]
            if uniform is None:
                left[first] = False  # so that it is not learnt again
            else:
                left[uniform.indices] = False
                found.append(uniform)
        self._seen += len(lines)
        self._accepted += sum(len(uniform.indices) for uniform in found)
        return found

    def _learn(self, line: bytes) -> Anchors | None:
        """Learns the template of a line, if it has one."""
        template = learn_template(line)
        if template is None:
            return None
        anchors = Anchors(template)
        self._known = [*self._known, anchors]
        return anchors


class _Block:
    """A block made ready: loads of 1, 4 or 16 bytes at any position, unescaped quotation marks."""

    def __init__(self, lines: Lines) -> None:
        padded, size = lines.block + _PADDING, len(lines.block)
        self.lines = lines
        self.padded = pa.py_buffer(padded)
        self.data = np.frombuffer(padded, np.uint8)
        self.quads: npt.NDArray[np.uint32] = np.ndarray((size,), "<u4", padded, strides=(1,))
        self.words: npt.NDArray[np.void] = np.ndarray((size,), "V16", padded, strides=(1,))
        is_quote = self.data == ord('"')
        self.escapes = np.empty(0, np.int64)
        self.has_escapes = np.zeros(len(lines), bool)
        if b"\\" in lines.block:
            self.escapes = np.flatnonzero(self.data == ord("\\"))
            self.has_escapes[lines.holding(self.escapes)] = True
            is_quote[_escaped(self.escapes)] = False
        self.quotes = np.flatnonzero(is_quote)
        self.first_quote = self._first_quotes()
        self.num_quotes = np.diff(self.first_quote)
        self.usable = _usable(lines, self.data[:size])

    def _first_quotes(self) -> _Ints:
        """Returns the number of the first quotation mark of each line, and that of all."""
        starts, num_quotes = self.lines.starts, len(self.quotes)
        per_line = num_quotes // len(starts)
        if per_line * len(starts) == num_quotes and per_line:  # as many in each line?
            table = self.quotes.reshape(-1, per_line)
            if (table[:, 0] >= starts).all() and (table[:, -1] < self.lines.ends).all():
                return np.arange(0, num_quotes + 1, per_line)
        return np.append(np.searchsorted(self.quotes, starts), num_quotes)

    def bounds(self, indices: npt.NDArray[np.int64], num_quotes: int) -> _Ints:
        """Returns one column per line: its quotation marks, its end, its start."""
        bounds = np.empty((num_quotes + 2, len(indices)), np.int64)
        if len(self.quotes) == len(indices) * num_quotes:
            bounds[:num_quotes] = self.quotes.reshape(-1, num_quotes).T
        else:
            bounds[:num_quotes] = self.quotes[
                self.first_quote[indices] + np.arange(num_quotes)[:, None]
            ]
        bounds[num_quotes] = self.lines.ends[indices]
        bounds[num_quotes + 1] = self.lines.starts[indices]
        return bounds


def _escaped(backslashes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Returns the positions behind each backslash that is not itself behind such a one."""
    is_first = np.diff(backslashes, prepend=-2) != 1
    run_starts = np.maximum.accumulate(np.where(is_first, backslashes, 0))
    return backslashes[(backslashes - run_starts) % 2 == 0] + 1


def _usable(lines: Lines, data: npt.NDArray[np.uint8]) -> _Mask:
    """Marks the lines without control characters, `.e`, and bytes that are not UTF-8."""
    usable = np.ones(len(lines), bool)
    if np.count_nonzero(data < ord(" ")) > len(lines):
        inside = np.flatnonzero((data < ord(" ")) & (data != ord("\n")))
        holders = [
            index for index in lines.holding(inside).tolist() if _CONTROL.search(lines[index])
        ]
        usable[holders] = False
    dot_e = (data[:-1] == ord(".")) & (
        (data[1:] | 0x20) == ord("e")
    )  # Arrow reads 1.e5, JSON does not
    if dot_e.any():
        usable[lines.holding(np.flatnonzero(dot_e))] = False
    usable[lines_not_utf8(lines)] = False
    return usable


class _Reading:
    """One pass over a block with one template.

    `indices` are the lines that still fit; `starts` and `stops` say where their values stand.
    """

    def __init__(self, block: _Block, anchors: Anchors, schema: pa.Schema) -> None:
        self.block, self.anchors, self.schema = block, anchors, schema
        self.template = anchors.template
        self.indices: npt.NDArray[np.int64] = np.empty(0, np.int64)
        self.starts = self.stops = np.empty((0, 0), np.int64)
        self.columns: dict[str, pa.Array] = {}

    def read(self, left: _Mask) -> Uniform | None:
        """Returns the lines among `left` that fit; None where none does."""
        self.indices = np.flatnonzero(left & (self.block.num_quotes == self.template.num_quotes))
        kinds = self._kinds()
        if kinds is None or not len(self.indices) or not self._place() or not self._compare():
            return None
        numbers = [j for j, kind in enumerate(kinds) if kind in _NUMBERS]
        tokens = [j for j, kind in enumerate(kinds) if kind in (pa.bool_(), pa.null())]
        if not self._keep(self._check_numbers(numbers) & self._check_tokens(kinds, tokens)):
            return None
        good = np.ones(len(self.indices), bool)
        for target in _NUMBERS:
            good &= self._read_numbers([j for j in numbers if kinds[j] == target], target)
        for j in tokens:
            self._read_token(j, kinds[j])
        good &= self._read_text([j for j, kind in enumerate(kinds) if kind == pa.string()])
        return self._finish(good)

    def _kinds(self) -> list[pa.DataType] | None:
        """Returns how each value is read; None where the schema wants another type."""
        kinds = []
        for name, quoted, example in zip(
            self.template.names, self.template.quoted, self.template.examples, strict=True
        ):
            at = self.schema.get_field_index(name)
            wanted = self.schema.field(at).type if at >= 0 else None
            if quoted != (wanted == pa.string()) and wanted is not None:
                if quoted or example != b"null":
                    return None
                wanted = pa.null()
            kinds.append(wanted or _kind_of(quoted, example))
        return kinds

    def _keep(self, good: _Mask) -> bool:
        """Drops the lines that are not good; tells whether any is left."""
        if not good.all():
            self.indices = self.indices[good]
            self.starts, self.stops = self.starts[:, good], self.stops[:, good]
        return len(self.indices) > 0

    def _place(self) -> bool:
        """Finds where the values of each line must stand, and checks the literals' lengths."""
        bounds, anchors = self.block.bounds(self.indices, self.template.num_quotes), self.anchors
        self.starts = bounds[anchors.starts] + anchors.start_shifts
        self.stops = bounds[anchors.stops] + anchors.stop_shifts
        return self._keep((self.starts - self.stops == anchors.lengths).all(axis=0))

    def _compare(self) -> bool:
        """Compares every byte between the values with the template's."""
        at = self.stops[self.anchors.word_stops] + self.anchors.word_shifts
        words = self.block.words[at].view(np.uint64)
        good = np.ones(len(self.indices), bool)
        for half, (mask, word) in enumerate(
            zip(self.anchors.word_masks, self.anchors.words, strict=True)
        ):
            good &= ((words[:, half::2] & mask) == word).all(axis=0)
        return self._keep(good)

    def _cells(self, columns: list[int]) -> tuple[_Ints, _Ints]:
        """Returns start and stop of the values of these columns, one row per column."""
        return self.starts[columns], self.stops[np.add(columns, 1)]

    def _nulls(self, starts: _Ints, stops: _Ints) -> _Mask:
        return (stops - starts == 4) & (self.block.quads[starts] == _NULL)

    def _check_numbers(self, columns: list[int]) -> _Mask:
        """Marks the lines whose numbers are null or start and end as JSON's numbers do."""
        if not columns:
            return np.ones(len(self.indices), bool)
        starts, stops = self._cells(columns)
        data, first = self.block.data, self.block.data[starts]
        if (is_signed := first == ord("-")).any():
            starts = starts + is_signed
            first = data[starts]
        good = (first - np.uint8(ord("1"))) < 9
        good |= (first == ord("0")) & _AFTER_ZERO[data[starts + 1]]
        good &= (data[stops - 1] - np.uint8(ord("0"))) < 10
        if not good.all():
            good |= self._nulls(*self._cells(columns))
        fits: _Mask = np.all(good, axis=0)
        return fits

    def _check_tokens(self, kinds: list[pa.DataType], columns: list[int]) -> _Mask:
        """Marks the lines whose booleans are true, false or null, and whose nulls are null."""
        good = np.ones(len(self.indices), bool)
        for column in columns:
            starts, stops = (cells[0] for cells in self._cells([column]))
            fits = self._nulls(starts, stops)
            if kinds[column] == pa.bool_():
                quads, lengths = self.block.quads[starts], stops - starts
                fits |= (quads == _TRUE) & (lengths == 4)
                fits |= (
                    (quads == _FALS) & (lengths == 5) & (self.block.data[starts + 4] == ord("e"))
                )
            good &= fits
        return good

    def _read_numbers(self, columns: list[int], target: pa.DataType) -> _Mask:
        """Converts all number columns of one type at once; marks the lines that fit."""
        good = np.ones(len(self.indices), bool)
        if not columns:
            return good
        starts, stops = self._cells(columns)
        nulls = self._nulls(starts, stops) if (self.block.data[starts] == ord("n")).any() else None
        cast = cast_checked(self._pieces(starts, stops, nulls), target)
        values = np.frombuffer(cast.array.buffers()[1], _NUMBERS[target])[: 2 * starts.size : 2]
        values = np.ascontiguousarray(values.reshape(starts.T.shape).T)
        finite = np.isfinite(values)
        good &= (finite if nulls is None else finite | nulls).all(axis=0)
        if cast.bad is not None:
            good &= ~cast.bad[::2].reshape(starts.T.shape).any(axis=1)
        for row, column in enumerate(columns):
            mask = None if nulls is None else nulls[row]
            self.columns[self.template.names[column]] = pa.array(values[row], target, mask=mask)
        return good

    def _pieces(self, starts: _Ints, stops: _Ints, nulls: _Mask | None = None) -> pa.Array:
        """Returns the values, line by line, as the even items of one text array.

        Nothing is copied: Arrow's offsets must not leave gaps, so the text between two values
        becomes an item, too; it is null, as the values in `nulls` are.
        """
        offsets = np.empty(2 * starts.size + 1, np.int32)
        pairs = offsets[:-1].reshape(starts.shape[1], starts.shape[0], 2)
        pairs[:, :, 0], pairs[:, :, 1], offsets[-1] = starts.T, stops.T, stops[-1, -1]
        valid = np.full(starts.size // 4 + 1, 0b01010101, np.uint8)
        if nulls is not None:
            bits = np.zeros((starts.size, 2), bool)
            bits[:, 0] = ~nulls.T.ravel()
            valid = np.packbits(bits, bitorder="little")
        return pa.StringArray.from_buffers(
            2 * starts.size, pa.py_buffer(offsets), self.block.padded, pa.py_buffer(valid)
        )

    def _read_text(self, columns: list[int]) -> _Mask:
        """Reads the text columns; marks the lines whose escapes are valid."""
        good = np.ones(len(self.indices), bool)
        evens = pa.array(np.arange(0, 2 * len(good), 2))
        wanted = set(self.schema.names)
        with_escapes = np.flatnonzero(self.block.has_escapes[self.indices])
        for column in columns:
            name, (starts, stops) = self.template.names[column], self._cells([column])
            texts = self._pieces(starts, stops).take(evens) if name in wanted else None
            if len(with_escapes):
                rows, values = self._escaped_values(with_escapes, starts[0], stops[0])
                good[rows] &= np.array([value is not None for value in values], bool)
                if texts is not None and values:
                    texts = _replaced(texts, rows, values)
            if texts is not None:
                self.columns[name] = texts
        return good

    def _escaped_values(
        self, rows: _Ints, starts: _Ints, stops: _Ints
    ) -> tuple[_Ints, list[str | None]]:
        """Returns which of the rows hold escapes in one column, and their texts."""
        before = np.searchsorted(self.block.escapes, starts[rows])
        rows = rows[np.searchsorted(self.block.escapes, stops[rows]) > before]
        spans = zip(starts[rows].tolist(), stops[rows].tolist(), strict=True)
        return rows, [_unescaped(self.block.lines.block[start:stop]) for start, stop in spans]

    def _read_token(self, column: int, kind: pa.DataType) -> None:
        if kind == pa.bool_():
            starts, stops = (cells[0] for cells in self._cells([column]))
            values, nulls = self.block.quads[starts] == _TRUE, self._nulls(starts, stops)
            self.columns[self.template.names[column]] = pa.array(values, mask=nulls)

    def _finish(self, good: _Mask) -> Uniform | None:
        """Builds the batch; drops the lines whose values did not fit their type."""
        arrays = [
            self.columns[field.name]
            if field.name in self.columns
            else pa.nulls(len(self.indices), field.type)
            for field in self.schema
        ]
        batch = pa.RecordBatch.from_arrays(arrays, schema=self.schema)
        if not good.all():
            batch = batch.filter(pa.array(good))
        return Uniform(self.indices[good], batch) if batch.num_rows else None


def _replaced(texts: pa.Array, rows: _Ints, values: list[str | None]) -> pa.Array:
    mask = np.zeros(len(texts), bool)
    mask[rows] = True
    return pc.replace_with_mask(texts, pa.array(mask), pa.array(values, pa.string()))


def _unescaped(text: bytes) -> str | None:
    """Turns the inside of a JSON string into its text; None if it is not one whole string."""
    try:
        value: str = orjson.loads(b'"%b"' % text)
    except orjson.JSONDecodeError:
        return None
    return value


def _kind_of(quoted: bool, example: bytes) -> pa.DataType:
    """Returns how a value is checked that no column wants."""
    if quoted:
        return pa.string()
    if example in (b"true", b"false"):
        return pa.bool_()
    return pa.null() if example == b"null" else pa.float64()
