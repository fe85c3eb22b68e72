r"""The shape of one JSON line: its literal text and where its values stand.

Machine-written JSON lines repeat one shape: the same keys in the same order with the same
spacing, only the values differ. A `Template` is that shape, learnt from one line: literal, value,
literal, value, ..., literal. `Anchors` says where the values of any other line of that shape must
stand, relative to its quotation marks, and which bytes must stand between them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

_MEMBER = re.compile(
    rb'([ \t]*[{,][ \t]*"([^"\\]*)"[ \t]*:[ \t]*)'  # a key without escapes
    rb'(?:"((?:[^"\\]|\\.)*)"|([^\s",{}\[\]]+))'  # a text, or a token
)
_WORD = 16  # bytes compared at once: numpy loads 16 as fast as 8


@dataclass(frozen=True, slots=True)
class Template:
    """The shape of a line: `literals[j]` stands before value j, the last one after all values.

    A text value stands between its quotation marks, which belong to the literals around it.
    `examples[j]` is the value that was seen there.
    """

    names: tuple[str, ...]
    quoted: tuple[bool, ...]
    examples: tuple[bytes, ...]
    literals: tuple[bytes, ...]

    @property
    def num_quotes(self) -> int:
        """The number of quotation marks in every line of this shape."""
        return sum(4 if quoted else 2 for quoted in self.quoted)


def learn_template(line: bytes) -> Template | None:
    r"""Turns one line into its template; None if it is malformed or nested.

    >>> learn_template(b'{"a":1, "b":"x"}').literals
    (b'{"a":', b', "b":"', b'"}')
    """
    names, quoted, examples, literals = [], [], [], []
    literal, position = b"", 0
    while member := _MEMBER.match(line, position):
        is_text = member[3] is not None
        quote = b'"' if is_text else b""
        names.append(member[2].decode("utf-8", "replace"))
        quoted.append(is_text)
        examples.append(member[3] if is_text else member[4])
        literals.append(literal + member[1] + quote)
        literal, position = quote, member.end()
    literals.append(literal + line[position:])
    if not names or len(set(names)) != len(names) or line[position:].strip(b" \t") != b"}":
        return None
    try:
        orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return Template(tuple(names), tuple(quoted), tuple(examples), tuple(literals))


class Anchors:
    """Where the values of a line start and stop, relative to its quotation marks and its ends.

    An anchor is a place in the list (quotation mark 0, 1, ..., line end, line start) and a shift.
    All arrays of shifts and words are columns, for matrices with one column per line. Stop j
    stands before start j, so that literal j lies between the two: stop 0 is the line's start, the
    last start is the line's end.
    """

    def __init__(self, template: Template) -> None:
        self.template = template
        starts, stops = _anchors(template)
        self.starts, self.start_shifts = _columns(starts)
        self.stops, self.stop_shifts = _columns(stops)
        self.lengths = _column([len(literal) for literal in template.literals], np.int64)
        words = [
            (index, at, literal[at : at + _WORD])
            for index, literal in enumerate(template.literals)
            for at in range(0, len(literal), _WORD)
        ]
        self.word_stops = np.array([index for index, _, _ in words], np.int64)
        self.word_shifts = _column([at for _, at, _ in words], np.int64)
        self.word_masks = _words([b"\xff" * len(word) for _, _, word in words])
        self.words = _words([word for _, _, word in words])


def _anchors(template: Template) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Returns (column, shift) of every start and every stop."""
    line_end = template.num_quotes
    starts: list[tuple[int, int]] = []
    stops: list[tuple[int, int]] = [(line_end + 1, 0)]
    quote = 0
    for index, quoted in enumerate(template.quoted):
        literal, following = template.literals[index : index + 2]
        if quoted:
            starts.append((quote + 2, 1))
            stops.append((quote + 3, 0))
        else:
            starts.append((quote + 1, len(literal) - literal.rindex(b'"')))
            is_last = index + 1 == len(template.quoted)
            stops.append(
                (line_end, -len(following)) if is_last else (quote + 2, -following.index(b'"'))
            )
        quote += 4 if quoted else 2
    return [*starts, (line_end, 0)], stops


def _columns(anchors: list[tuple[int, int]]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    places, shifts = zip(*anchors, strict=True)
    return np.array(places, np.int64), _column(shifts, np.int64)


def _column(values: Sequence[int], dtype: type[Any]) -> npt.NDArray[Any]:
    return np.array(values, dtype)[:, None]


def _words(chunks: list[bytes]) -> npt.NDArray[np.uint64]:
    """Returns the first halves of all chunks as a column of numbers, and the second halves."""
    padded = b"".join(chunk.ljust(_WORD, b"\0") for chunk in chunks)
    return np.ascontiguousarray(np.frombuffer(padded, np.uint64).reshape(-1, 2).T)[:, :, None]
