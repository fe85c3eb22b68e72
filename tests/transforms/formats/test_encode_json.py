import datetime
import decimal
import io
import json
import math

import orjson
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import json as arrow_json

from scoreline.transforms.formats.encode_json import encode_json_lines


def decoded(batch: pa.RecordBatch) -> list[dict]:
    return [json.loads(line) for line in encode_json_lines(batch).splitlines()]


def one(value: object, kind: pa.DataType | None = None) -> object:
    return decoded(pa.record_batch({"x": pa.array([value], kind)}))[0]["x"]


rows = st.lists(
    st.tuples(
        st.none() | st.floats(allow_nan=False, allow_infinity=False),
        st.none() | st.text(st.characters(exclude_categories=["Cs"])),
        st.none() | st.integers(-(2**63), 2**63 - 1),
        st.none() | st.booleans(),
    ),
    max_size=30,
)


@settings(deadline=None, max_examples=150)
@given(rows, st.integers(0, 3))
def test_reads_back_equal_from_any_slice(values: list, first: int) -> None:
    kinds = [pa.float64(), pa.string(), pa.int64(), pa.bool_()]
    columns = [pa.array([row[i] for row in values], kind) for i, kind in enumerate(kinds)]
    batch = pa.record_batch(columns, names=['f"', "s", "i", "b"]).slice(first)
    text = encode_json_lines(batch)
    assert [json.loads(line) for line in text.split(b"\n")[:-1]] == batch.to_pylist()
    if batch.num_rows:
        options = arrow_json.ParseOptions(explicit_schema=batch.schema)
        back = arrow_json.read_json(io.BytesIO(text), parse_options=options)
        assert back.to_batches()[0].equals(batch)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1))
def test_narrow_floats_read_back_equal(values: list) -> None:
    column = pa.array(values, pa.float32())
    for kind, cells in (
        (pa.float32(), column),
        (pa.list_(pa.float32()), pa.array([values], pa.list_(pa.float32()))),
    ):
        text = encode_json_lines(pa.record_batch({"x": cells}))
        back = [json.loads(line)["x"] for line in text.splitlines()]
        assert pa.array(back, kind).equals(cells)


def test_last_and_only_float_column_closes_the_row() -> None:
    batch = pa.record_batch({"x": [0.1, None, math.nan, math.inf, -0.0, 1e22]})
    expected = ["0.1", "null", "null", "null", "-0.0", "1e+22"]
    assert encode_json_lines(batch).decode() == "".join(f'{{"x":{x}}}\n' for x in expected)


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        (decimal.Decimal("1.10"), pa.decimal128(5, 2), "1.10"),
        (0.1, pa.float32(), 0.1),
        (0.5, pa.float16(), 0.5),
        (2**63, pa.uint64(), 2**63),
        (0, pa.timestamp("us"), "1970-01-01T00:00:00.000000"),
        (0, pa.timestamp("s", "Asia/Tokyo"), "1970-01-01T00:00:00Z"),
        (1, pa.timestamp("ns", "UTC"), "1970-01-01T00:00:00.000000001Z"),
        (datetime.date(2020, 2, 29), pa.date32(), "2020-02-29"),
        (datetime.time(1, 2, 3), pa.time64("us"), "01:02:03.000000"),
        (5, pa.duration("ms"), 5),
        (b"\xff\x00", pa.binary(), "/wA="),
        (b"ab", pa.binary(2), "YWI="),
        (None, pa.null(), None),
        (
            [("a", 1), ("a", 2)],
            pa.map_(pa.string(), pa.int8()),
            [{"key": "a", "value": 1}, {"key": "a", "value": 2}],
        ),
        ([[1, None], None, []], pa.list_(pa.list_(pa.int8())), [[1, None], None, []]),
        ([0.1, math.nan], pa.list_(pa.float32(), 2), [0.1, None]),
        (
            {"t": 0, "d": None},
            pa.struct([("t", pa.timestamp("s")), ("d", pa.duration("s"))]),
            {"t": "1970-01-01T00:00:00", "d": None},
        ),
        ("\u2028é\x00\x7f\\", pa.string_view(), "\u2028é\x00\x7f\\"),
        ('a"b', pa.large_string(), 'a"b'),
        ('a"b', pa.dictionary(pa.int8(), pa.string()), 'a"b'),
        (1.5, pa.dictionary(pa.int8(), pa.float64()), 1.5),
    ],
)
def test_rule_of_each_type(value: object, kind: pa.DataType, expected: object) -> None:
    assert one(value, kind) == expected
    assert one(None, kind) is None
    nested = pa.record_batch({"x": pa.array([[None, value]], pa.list_(kind))})
    assert decoded(nested) == [{"x": [None, expected]}]
    column = pa.array([value, None, value], kind).slice(1)
    assert decoded(pa.record_batch({"x": column, "y": column})) == [
        {"x": None, "y": None},
        {"x": expected, "y": expected},
    ]


def test_dictionary_whose_values_hold_a_null() -> None:
    column = pa.DictionaryArray.from_arrays(pa.array([0, 1]), pa.array(["a", None]))
    assert decoded(pa.record_batch({"x": column})) == [{"x": "a"}, {"x": None}]


def test_more_rows_than_a_chunk_equal_orjson() -> None:
    batch = pa.record_batch({"i": range(9000), "s": [f'"{i}' for i in range(9000)]})
    rows = b"".join(orjson.dumps(row) + b"\n" for row in batch.to_pylist())
    assert encode_json_lines(batch) == rows


def test_no_rows_and_no_columns() -> None:
    assert encode_json_lines(pa.record_batch({"x": pa.array([], pa.float64())})) == b""
    bare = pa.record_batch({"x": [1, 2]}).select([])
    assert encode_json_lines(bare) == b"{}\n" * bare.num_rows


def test_refusals() -> None:
    twice = pa.record_batch([pa.array([1]), pa.array([2])], names=["a", "a"])
    with pytest.raises(ValueError, match=r"two columns of one name: \['a'\]"):
        encode_json_lines(twice)
    interval = pa.record_batch({"x": pa.array([(1, 2, 3)], pa.month_day_nano_interval())})
    with pytest.raises(
        TypeError, match="column 'x': a column of type month_day_nano_interval has no text"
    ):
        encode_json_lines(interval)
    late = pa.record_batch({"x": pa.array([2**62], pa.timestamp("us"))})
    with pytest.raises(ValueError, match="column 'x': a timestamp cannot be spelled"):
        encode_json_lines(late)
