import pyarrow as pa
import pytest

from scoreline.models.example import example_batch

VALUES = [
    (pa.int8(), 0),
    (pa.uint64(), 0),
    (pa.float16(), 0),
    (pa.float64(), 0),
    (pa.bool_(), False),
    (pa.decimal128(2, 2), 0),
    (pa.string(), "0"),
    (pa.large_string(), "0"),
    (pa.string_view(), "0"),
    (pa.dictionary(pa.int8(), pa.string(), ordered=True), "0"),
    (pa.dictionary(pa.uint32(), pa.float32()), 0),
    (pa.dictionary(pa.int8(), pa.timestamp("s")), None),
    (pa.timestamp("us", "UTC"), None),
    (pa.list_(pa.int8()), None),
    (pa.list_(pa.int8(), 3), [0, 0, 0]),
    (pa.list_(pa.list_(pa.string(), 1), 2), [["0"], ["0"]]),
    (pa.struct([("a", pa.int8())]), None),
    (pa.map_(pa.string(), pa.int8()), None),
    (pa.binary(), None),
    (pa.null(), None),
    (pa.dense_union([pa.field("a", pa.int8())]), None),
    (pa.uuid(), None),
]


@pytest.mark.parametrize(("type_", "value"), VALUES, ids=lambda case: str(case))
def test_one_row_of_any_type(type_: pa.DataType, value: object):
    schema = pa.schema([pa.field("x", type_)], metadata={"pandas": "{}"})
    batch = example_batch(schema)
    batch.validate(full=True)
    assert batch.schema == schema.remove_metadata()
    assert batch.schema.metadata is None
    assert batch.to_pylist() == [{"x": value}]


def test_values_that_are_known():
    words = pa.dictionary(pa.int8(), pa.string())
    schema = pa.schema([("plan", words), ("zone", pa.int32()), ("x", pa.float64())])
    batch = example_batch(schema, {"plan": "gold", "zone": 30.0})
    assert batch.to_pylist() == [{"plan": "gold", "zone": 30, "x": 0.0}]
    assert batch.schema == schema
