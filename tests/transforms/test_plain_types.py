import pyarrow as pa
import pytest

from scoreline.transforms.plain_types import plain_schema

VIEW, PLAIN = pa.string_view(), pa.string()


@pytest.mark.parametrize(
    ("type_", "expected"),
    [
        (VIEW, PLAIN),
        (pa.binary_view(), pa.binary()),
        (pa.list_(VIEW), pa.list_(PLAIN)),
        (pa.large_list(VIEW), pa.large_list(PLAIN)),
        (pa.list_(VIEW, 2), pa.list_(PLAIN, 2)),
        (pa.struct([("a", pa.list_(VIEW))]), pa.struct([("a", pa.list_(PLAIN))])),
        (pa.map_(VIEW, VIEW), pa.map_(PLAIN, PLAIN)),
    ],
)
def test_views_become_plain_and_can_be_cast(type_, expected):
    schema = pa.schema([pa.field("x", type_, nullable=False, metadata={"k": "v"})], {"m": "n"})
    plain = plain_schema(schema)
    field = pa.field("x", expected, nullable=False, metadata={"k": "v"})
    assert plain.equals(pa.schema([field], {"m": "n"}), check_metadata=True)
    assert pa.array([], type_).cast(expected).type == expected


@pytest.mark.parametrize(
    "type_",
    [
        pa.int8(),
        PLAIN,
        pa.dictionary(pa.int8(), PLAIN),
        pa.list_(pa.field("odd", PLAIN, nullable=False)),
        pa.map_(PLAIN, pa.list_(pa.int8()), keys_sorted=True),
        pa.struct([pa.field("a", PLAIN, nullable=False)]),
        pa.list_view(pa.int8()),
    ],
)
def test_other_types_stay(type_):
    schema = pa.schema([("x", type_)])
    assert plain_schema(schema).equals(schema, check_metadata=True)
