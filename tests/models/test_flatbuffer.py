import contextlib
import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoreline.models.flatbuffer import Table


def document(*fields: Any) -> bytes:
    """One table of these fields: a number, a text, a list of texts, a table's bytes, or nothing."""
    places: list[int] = []
    table = struct.pack("<i", 0)
    for field in fields:
        places.append(0 if field is None else len(table))
        if field is not None:
            table += struct.pack("<i", field if isinstance(field, int) else 0)
    slots = struct.pack("<HH", 4 + 2 * len(places), len(table))
    slots += b"".join(struct.pack("<H", place) for place in places)
    at = 4 + len(slots)
    data = bytearray(struct.pack("<I", at) + slots + table)
    struct.pack_into("<i", data, at, len(slots))
    for place, field in zip(places, fields, strict=True):
        if isinstance(field, str | list):
            struct.pack_into("<I", data, at + place, len(data) - at - place)
            _append(data, field)
    return bytes(data)


def _append(data: bytearray, field: Any) -> None:
    data += struct.pack("<I", len(field))
    if isinstance(field, str):
        data += field.encode()
        return
    start = len(data)
    data += bytes(4 * len(field))
    for index, each in enumerate(field):
        place = start + 4 * index
        struct.pack_into("<I", data, place, len(data) - place)
        _append(data, each)


TABLE = Table.root(document(7, "text", None, ["one", "two"], -1))


def test_fields_by_their_number():
    assert TABLE.integer(0, 0) == 7
    assert TABLE.text(1) == "text"
    assert TABLE.texts(3) == ["one", "two"]
    assert TABLE.length(3) == 2
    assert TABLE.integer(4, 0) == -1


@pytest.mark.parametrize("number", [2, 5, 99])
def test_fields_that_are_left_out(number: int):
    assert TABLE.integer(number, -3) == -3
    assert TABLE.text(number) is None
    assert TABLE.table(number) is None
    assert TABLE.tables(number) == []
    assert TABLE.texts(number) == []
    assert TABLE.length(number) == 0


READERS: list[Callable[[Table], Any]] = [
    *(lambda table, n=n: table.integer(n, 0) for n in range(4)),
    *(lambda table, n=n: table.text(n) for n in range(4)),
    *(lambda table, n=n: [inner.integer(0, 0) for inner in table.tables(n)] for n in range(4)),
    *(lambda table, n=n: table.texts(n) for n in range(4)),
    *(lambda table, n=n: table.length(n) for n in range(4)),
]


@given(st.binary(), st.sampled_from(READERS))
def test_anything_else_is_an_error(data: bytes, read: Callable[[Table], Any]):
    with contextlib.suppress(ValueError):
        read(Table.root(data))


@given(st.integers(0, len(TABLE.data) - 1), st.integers(1, 255), st.sampled_from(READERS))
def test_a_damaged_byte_does_no_more_than_raise(at: int, flip: int, read: Callable[[Table], Any]):
    data = bytearray(TABLE.data)
    data[at] ^= flip
    with contextlib.suppress(ValueError):
        read(Table.root(bytes(data)))


def test_a_document_that_is_cut_short():
    with pytest.raises(ValueError, match="lies outside the document of 2 bytes"):
        Table.root(b"\0\0")
    short = Table.root(TABLE.data[:-1])
    with pytest.raises(ValueError, match="is longer than the document"):
        short.texts(3)
