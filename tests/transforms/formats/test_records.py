import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoreline.transforms.formats.records import (
    REJECTS_SCHEMA,
    Decoded,
    Part,
    Reject,
    Rejects,
    assemble,
)


@given(st.lists(st.integers(0, 3), max_size=30))
def test_parts_in_any_order_come_back_in_source_order(owners):
    """Part k holds the records whose owner is k, the last owner's records are rejects."""
    parts = []
    for owner in (2, 0, 1):
        mine = np.array([i for i, o in enumerate(owners) if o == owner], np.int64)
        parts.append(Part(mine, pa.RecordBatch.from_pydict({"x": pa.array(mine)})))
    bad = [Reject(i, "code", "Class", "message", b"%d" % i) for i, o in enumerate(owners) if o == 3]
    decoded = assemble(parts, reversed(bad))
    good = [] if decoded.batch is None else decoded.batch.column("x").to_pylist()
    assert good == decoded.ordinals.to_pylist() == [i for i, o in enumerate(owners) if o != 3]
    assert [reject.ordinal for reject in decoded.rejects] == [
        i for i, o in enumerate(owners) if o == 3
    ]
    assert decoded.num_records == len(owners)


def test_rejects_as_a_batch():
    rejects = Rejects.of([Reject(4, "b", "B", "m", b"\xff"), Reject(1, "a", "A", "n", b"")])
    batch = rejects.to_batch()
    assert batch.schema == REJECTS_SCHEMA
    assert batch.column("ordinal").to_pylist() == [1, 4]
    assert Rejects().to_batch().num_rows == 0


def test_rows_and_ordinals_must_agree():
    batch = pa.RecordBatch.from_pydict({"x": [1, 2]})
    with pytest.raises(ValueError, match="expected one ordinal per row, got 1 for 2 rows"):
        Decoded(batch, pa.array([0], pa.int64()))
