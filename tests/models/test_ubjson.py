import contextlib
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoreline.models.ubjson import parse_ubjson


def key(name: str) -> bytes:
    data = name.encode()
    return b"L" + struct.pack(">q", len(data)) + data


def packed(value: Any) -> bytes:
    """UBJSON as XGBoost writes it, but for its typed arrays."""
    if value is None or isinstance(value, bool):
        return {None: b"Z", True: b"T", False: b"F"}[value]
    if isinstance(value, int):
        return b"L" + struct.pack(">q", value)
    if isinstance(value, float):
        return b"D" + struct.pack(">d", value)
    if isinstance(value, str):
        return b"S" + key(value)
    if isinstance(value, list):
        return b"[#L" + struct.pack(">q", len(value)) + b"".join(map(packed, value))
    return b"{" + b"".join(key(name) + packed(each) for name, each in value.items()) + b"}"


LEAVES = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.text()
DOCUMENTS = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))


@given(DOCUMENTS)
def test_what_was_written_comes_back(document: Any):
    assert repr(parse_ubjson(packed(document))) == repr(document)


@given(st.binary())
def test_anything_else_is_an_error(data: bytes):
    with contextlib.suppress(ValueError):
        parse_ubjson(data)


@pytest.mark.parametrize(
    ("marker", "layout", "dtype"),
    [
        *(("i", "b", "i1"), ("U", "B", "u1"), ("I", "h", "i2"), ("l", "i", "i4")),
        *(("L", "q", "i8"), ("d", "f", "f4"), ("D", "d", "f8")),
    ],
)
def test_typed_arrays(marker: str, layout: str, dtype: str):
    data = f"[${marker}#U".encode() + bytes([3]) + struct.pack(f">3{layout}", 1, 2, 3)
    values = parse_ubjson(data)
    assert values.tolist() == [1, 2, 3]
    assert values.dtype == np.dtype(f">{dtype}")


def test_an_array_without_a_length():
    assert parse_ubjson(b"[i\x01i\xff]") == [1, -1]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "ends at byte 0, 1 bytes are missing"),
        (b"{L\0\0", "ends at byte 4, 8 bytes are missing"),
        (b"SL" + struct.pack(">q", 2**60) + b"x", "bytes are missing"),
        (b"SL" + struct.pack(">q", -1) + b"x", "bytes are missing"),
        (b"[$L#L" + struct.pack(">q", 2**58), "bytes are missing"),
        (b"[$S#U\1", "starts no typed array of numbers"),
        (b"[$i?", "starts no typed array of numbers"),
        (b"Sd\0\0\0\0", "expected a length"),
        (b"?", r"byte 0 holds b'\?', which marks no value"),
        (b"TT", "1 bytes follow the end of the document"),
        (b"[" * 200 + b"]" * 200, "nested deeper than 100 levels"),
        (b"SU\1\xff", "invalid start byte"),
    ],
    ids=range(12),
)
def test_what_is_damaged(data: bytes, message: str):
    with pytest.raises(ValueError, match=message):
        parse_ubjson(data)
