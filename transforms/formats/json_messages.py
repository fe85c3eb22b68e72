r"""Turns messages that hold one JSON object each into one batch and its malformed messages.

A raw line end is white space in JSON, and an error inside a string: a carriage return means just
the same, but ends no line. So each message becomes one line, and all of them one block of JSON
lines, which is decoded at once. No verdict on a message depends on its neighbours.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from .json_check import parse_record
from .json_lines import JsonLinesDecoder
from .payloads import Ledger, blank, joined, taken, without_marks
from .records import Rejects

_Indices = npt.NDArray[np.int64]

_WHITE_SPACE = b" \t\r\n"
_NEED_NONE = (str, type(None))
_GAP = re.compile(r"[ \t\r\n]*[:,]?[ \t\r\n]*")
_SCAN = json.JSONDecoder(parse_int=str, parse_float=str).raw_decode  # to find where values end
# A number so short is none that a double could not hold: that would be malformed.
_LITERAL = rb"-?(?:0|[1-9][0-9]{0,200})(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,2})?|true|false"


class JsonMessages:
    """Decodes JSON messages of one schema; see `JsonLinesDecoder` for the rules.

    Args:
        schema: the columns, in order.
        untyped: of those, the ones that take any JSON value: one that is no string comes as its
            JSON text, as it stands in the message.

    Raises:
        TypeError: the schema holds a type that JSON cannot give.
        ValueError: the schema has no columns, or an untyped column that is not one of strings.
    """

    def __init__(self, schema: pa.Schema, untyped: frozenset[str]) -> None:
        strings = {field.name for field in schema if field.type == pa.string()}
        if untyped - strings:
            raise ValueError(
                f"untyped columns: expected columns of strings, got {sorted(untyped - strings)}; "
                f"the schema has {sorted(strings)}"
            )
        self._lines = JsonLinesDecoder(schema)
        self._quotes = _Quotes(untyped) if untyped else None
        self._quote_first = False  # most messages of the last batch needed quotes

    def decode(self, ledger: Ledger) -> None:
        """Gives a verdict on every message."""
        texts = without_marks(ledger.payloads)
        is_empty = blank(texts, _WHITE_SPACE)
        ledger.reject_empty(is_empty)
        messages = np.flatnonzero(~is_empty)
        texts = taken(texts, messages)
        if self._quotes is None:
            ledger.add(messages, self._lines.decode(_one_line_each(texts)))
        else:
            self._decode_untyped(self._quotes, texts, messages, ledger)

    def _decode_untyped(
        self, quotes: _Quotes, texts: pa.BinaryArray, messages: _Indices, ledger: Ledger
    ) -> None:
        """Decodes as strings what may be no strings, and once more, in quotes, what is none.

        If most messages are in need of quotes, they get them beforehand. Then only the rows count:
        a message that does not fit is told what is wrong with it as it came.
        """
        num_quoted, num_texts = 0, len(texts)
        if self._quote_first:
            block, order, num_quoted = quotes.put_in_all(texts)
            decoded = self._lines.decode(block)
            ledger.accept_rows(messages[order], decoded)
            left = np.sort(order[[reject.ordinal for reject in decoded.rejects]])
            texts, messages = taken(texts, left), messages[left]
        decoded = self._lines.decode(_one_line_each(texts))
        misfits = quotes.put_in_misfits(texts, decoded.rejects)
        ledger.add(messages, decoded, leave=misfits)
        if misfits:
            block = _one_line_each(pa.array(list(misfits.values()), pa.binary()))
            ledger.add(messages[list(misfits)], self._lines.decode(block))
        self._quote_first = 2 * (num_quoted + len(misfits)) > num_texts


def _one_line_each(texts: pa.BinaryArray) -> bytes:
    r"""Joins texts to lines; the line ends inside them become carriage returns.

    >>> _one_line_each(pa.array([b'{"a":\n1}', b"{}"], pa.binary()))
    b'{"a":\r1}\n{}\n'
    """
    block = joined(texts)
    if block.count(b"\n") > len(texts):
        block = joined(pc.replace_substring(texts, "\n", "\r"))
    return block


class _Quotes:
    r"""Puts values that are no strings in quotes, so that they are read as text.

    >>> quotes = _Quotes(frozenset({"id"}))
    >>> quotes.put_in(b'{"id": {"a": 1}, "x": 2}')
    b'{"id": "{\\"a\\": 1}", "x": 2}'

    Args:
        names: the columns; at least one.
    """

    def __init__(self, names: frozenset[str]) -> None:
        self._names = names
        self._keys = {name: orjson.dumps(name).decode() for name in names}
        spelt = b"|".join(re.escape(key[1:-1].encode()) for key in self._keys.values())
        # What stands before a key is no part of a string: there, a quotation mark has a backslash.
        self._flat = re.compile(
            rb'"(?<=[{, \t\r]")((?:%b)"[ \t\r]*:[ \t\r]*)(%b)(?=[ \t\r]*[,}])' % (spelt, _LITERAL)
        )

    def put_in_all(self, texts: pa.BinaryArray) -> tuple[bytes, _Indices, int]:
        """Puts quotes in all texts that need them, at once where no object lies inside another.

        Returns:
            (one line for each text, the texts' indices in the lines' order, how many got quotes).
        """
        is_flat = (pc.count_substring(texts, b"{").to_numpy() < 2).astype(bool)
        flat, nested = np.flatnonzero(is_flat), np.flatnonzero(~is_flat)
        block, num_quoted = self._flat.subn(rb'"\1"\2"', _one_line_each(taken(texts, flat)))
        if not len(nested):
            return block, flat, num_quoted
        plain = taken(texts, nested).to_pylist()
        quoted = [self.put_in(text) for text in plain]
        num_quoted += sum(text is not None for text in quoted)
        lines = [new or old for new, old in zip(quoted, plain, strict=True)]
        block += _one_line_each(pa.array(lines, pa.binary()))
        return block, np.concatenate([flat, nested]), num_quoted

    def put_in_misfits(self, texts: pa.BinaryArray, rejects: Rejects) -> dict[int, bytes]:
        """Returns, by their ordinals, the rejects that quotes make another text of."""
        suspects = [reject.ordinal for reject in rejects if reject.error_code == "wrong_type"]
        quoted = {ordinal: self.put_in(texts[ordinal].as_py()) for ordinal in suspects}
        return {ordinal: text for ordinal, text in quoted.items() if text is not None}

    def put_in(self, record: bytes) -> bytes | None:
        """Returns a record with quotes; None where it needs none, or is no object."""
        value = parse_record(record)
        if not isinstance(value, dict):
            return None
        names = [name for name in self._names if type(value.get(name)) not in _NEED_NONE]
        if not names:
            return None
        text, pieces, done = record.decode(), [], 0
        for start, stop in self._spans(text, names):
            pieces += [text[done:start], json.dumps(text[start:stop], ensure_ascii=False)]
            done = stop
        return "".join([*pieces, text[done:]]).encode()

    def _spans(self, text: str, names: list[str]) -> list[tuple[int, int]]:
        """Returns where values need quotes; these members of the object have such values."""
        keys = [self._keys[name] for name in names]
        if "\\u" in text or "\\/" in text or any(text.count(key) != 1 for key in keys):
            return [
                (start, stop)
                for name, start, stop in _members(text)
                if name in self._names and not text.startswith(('"', "null"), start)
            ]
        starts = sorted(_after_gap(text, text.index(key) + len(key)) for key in keys)
        return [(start, _SCAN(text, start)[1]) for start in starts]


def _members(text: str) -> Iterator[tuple[str, int, int]]:
    """Yields each member of a valid object: its key, and where its value starts and stops."""
    at = _after_gap(text, text.index("{") + 1)
    while text[at] != "}":
        name, at = _SCAN(text, at)
        start = _after_gap(text, at)
        _, stop = _SCAN(text, start)
        yield name, start, stop
        at = _after_gap(text, stop)


def _after_gap(text: str, at: int) -> int:
    gap = _GAP.match(text, at)
    return gap.end() if gap else at
