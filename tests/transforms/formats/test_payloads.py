import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoreline.transforms.formats.lines import UTF8_BOM
from scoreline.transforms.formats.payloads import (
    Ledger,
    as_payloads,
    blank,
    joined,
    taken,
    without_marks,
)
from scoreline.transforms.formats.records import Decoded, Reject, Rejects

some_bytes = st.lists(
    st.binary(max_size=4)
    | st.sampled_from([b"", b" ", b"\n\t", UTF8_BOM, UTF8_BOM + b"{}", b"{", b"\r\n{"]),
    min_size=1,
    max_size=8,
)


@given(some_bytes, st.data())
def test_a_column_of_payloads_is_what_its_payloads_are(payloads, data):
    start = data.draw(st.integers(0, len(payloads) - 1))
    column = as_payloads(payloads)[start:]
    kept = payloads[start:]
    assert joined(column) == b"".join(payload + b"\n" for payload in kept)
    assert joined(column, b"--") == b"".join(payload + b"--" for payload in kept)
    assert without_marks(column).to_pylist() == [one.removeprefix(UTF8_BOM) for one in kept]
    assert blank(column, b" \t\r\n").tolist() == [not one.strip(b" \t\r\n") for one in kept]
    assert blank(column, b"").tolist() == [not one for one in kept]
    evens = np.arange(0, len(kept), 2)
    assert taken(column, evens).to_pylist() == kept[::2]


def test_no_payloads_are_no_block():
    none = as_payloads([])
    assert joined(none) == b""
    assert blank(none, b"").tolist() == []
    assert without_marks(none).to_pylist() == []
    assert taken(none, np.empty(0, np.int64)) is none


def test_payloads_are_bytes():
    assert as_payloads(pa.array(["é"])).to_pylist() == ["é".encode()]
    assert as_payloads(pa.array([b"x"], pa.large_binary())).type == pa.binary()
    with pytest.raises(ValueError, match="expected the bytes of every message, got 1 nulls"):
        as_payloads(pa.array([b"x", None]))


def test_a_ledger_puts_everything_in_the_messages_order():
    ledger = Ledger(as_payloads([b"0", b"1", b"2", b"3", b""]))
    rejects = Rejects(tuple(Reject(i, "code", "Class", f"reason {i}", b"?") for i in (0, 1)))
    rows = pa.record_batch({"x": [30]})
    ledger.add(np.array([1, 0, 3]), Decoded(rows, pa.array([2]), rejects), leave={0})
    ledger.accept(np.array([1, 2]), pa.record_batch({"x": [10, 20]}))
    ledger.reject_empty(np.array([False] * 4 + [True]))
    decoded = ledger.decoded()
    assert decoded.batch.column("x").to_pylist() == [10, 20, 30]
    assert decoded.ordinals.to_pylist() == [1, 2, 3]
    assert [(one.ordinal, one.error_code, one.payload) for one in decoded.rejects] == [
        (0, "code", b"0"),
        (4, "empty_message", b""),
    ]
    assert decoded.rejects.records[0].error_message == "reason 1"
    assert decoded.rejects.records[1].error_message == "expected a record, got an empty message"
