import datetime
import decimal
import io
import math

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import csv

from scoreline.transforms.formats.encode_csv import encode_csv


def read(text: bytes, schema: pa.Schema, delimiter: str = ",") -> pa.Table:
    return csv.read_csv(
        io.BytesIO(text),
        parse_options=csv.ParseOptions(
            delimiter=delimiter, newlines_in_values=True, ignore_empty_lines=False
        ),
        convert_options=csv.ConvertOptions(
            column_types=schema,
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )


text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\x00"))
rows = st.lists(
    st.tuples(
        st.none() | st.floats(allow_nan=False),
        st.none() | text,
        st.none() | st.integers(-(2**63), 2**63 - 1),
        st.none() | st.booleans(),
        st.none() | st.dates(datetime.date(1000, 1, 1)),
        st.none() | st.datetimes(datetime.datetime(1700, 1, 1), datetime.datetime(2200, 1, 1)),
        st.none() | st.decimals(-999, 999, places=2),
    ),
    min_size=1,
    max_size=20,
)


@settings(deadline=None, max_examples=100)
@given(rows, st.sampled_from(",;|\t "))
def test_reads_back_equal(values: list, delimiter: str) -> None:
    kinds = [
        pa.float64(),
        pa.string(),
        pa.int64(),
        pa.bool_(),
        pa.date32(),
        pa.timestamp("us"),
        pa.decimal128(10, 2),
    ]
    columns = [pa.array([row[i] for row in values], kind) for i, kind in enumerate(kinds)]
    batch = pa.record_batch(columns, names=["f", 's",;', "i", "b", "d", "t", "dec"])
    back = read(encode_csv(batch, header=True, delimiter=delimiter), batch.schema, delimiter)
    assert back.combine_chunks().to_batches()[0].equals(batch)


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array(["", None, 'a"b']), '""||"a""b"'),
        (pa.array([math.nan, None, math.inf]), "nan||inf"),
        (pa.array([[1, None], None, []]), '"[1,null]"||"[]"'),
        (pa.array([b"ab", None, b""]), '"YWI="||""'),
        (pa.array([b"ab", None, b"cd"], pa.binary(2)), '"YWI="||"Y2Q="'),
        (pa.array([decimal.Decimal("1.10"), None, decimal.Decimal("-2.00")]), "1.10||-2.00"),
        (
            pa.array([0, None, 1], pa.timestamp("s", "Asia/Tokyo")),
            '"1970-01-01T00:00:00Z"||"1970-01-01T00:00:01Z"',
        ),
        (pa.array([5, None, 6], pa.duration("ms")), "5||6"),
        (pa.array(["a", None, ""]).dictionary_encode(), '"a"||""'),
        (pa.array([{"a": 1}, None, {"a": None}]), '"{""a"":1}"||"{""a"":null}"'),
        (pa.array([0.5, None, 1.5], pa.float16()), "0.5||1.5"),
        (pa.array(["a", None, "b"], pa.string_view()), '"a"||"b"'),
    ],
)
def test_rule_of_each_type(column: pa.Array, expected: str) -> None:
    batch = pa.record_batch({"x": column, "n": [1, 2, 3]})
    lines = encode_csv(batch, header=False).decode().splitlines()
    assert "|".join(line.rpartition(",")[0] for line in lines) == expected
    sliced = encode_csv(batch.slice(1), header=False).decode().splitlines()
    assert sliced == lines[1:]


def test_header_and_refusals() -> None:
    batch = pa.record_batch({"a": [1]})
    assert encode_csv(batch, header=True) == b'"a"\n1\n'
    assert encode_csv(batch, header=False) == b"1\n"
    for delimiter in ("-", "1", '"', "::", "é", ""):
        with pytest.raises(ValueError, match="the delimiter must be one ASCII character"):
            encode_csv(batch, header=True, delimiter=delimiter)
    interval = pa.record_batch({"x": pa.array([(1, 2, 3)], pa.month_day_nano_interval())})
    with pytest.raises(TypeError, match="column 'x': a column of type month_day_nano_interval"):
        encode_csv(interval, header=True)


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ([1, None, 2], b'1\n""\n2\n'),
        ([None, None], b'""\n""\n'),
        ([True, None], b'true\n""\n'),
        (["a\n\nb", None, ""], b'"a\n\nb"\n""\n""\n'),
        ([[1], None], b'"[1]"\n""\n'),
    ],
)
def test_a_null_in_the_only_column_keeps_its_row(column: list, expected: bytes) -> None:
    batch = pa.record_batch({"na\n\nme": column})
    assert encode_csv(batch, header=True) == b'"na\n\nme"\n' + expected
    assert encode_csv(batch, header=False) == expected
