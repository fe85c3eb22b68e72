import pyarrow as pa
import pytest
from google.cloud.bigquery import SchemaField

from scoreline.transforms.bigquery.column_types import check_names, to_arrow, to_bigquery, to_send

UTC = pa.timestamp("us", "UTC")
ENTRY = [pa.field("key", pa.string(), nullable=False), pa.field("value", pa.int64())]


@pytest.mark.parametrize(
    ("type_", "name", "sent", "read"),
    [
        (pa.int8(), "INTEGER", pa.int8(), pa.int64()),
        (pa.int64(), "INTEGER", pa.int64(), pa.int64()),
        (pa.uint8(), "INTEGER", pa.int64(), pa.int64()),
        (pa.uint32(), "INTEGER", pa.int64(), pa.int64()),
        (pa.uint64(), "NUMERIC", pa.decimal128(20, 0), pa.decimal128(38, 9)),
        (pa.float16(), "FLOAT", pa.float32(), pa.float64()),
        (pa.float32(), "FLOAT", pa.float32(), pa.float64()),
        (pa.float64(), "FLOAT", pa.float64(), pa.float64()),
        (pa.bool_(), "BOOLEAN", pa.bool_(), pa.bool_()),
        (pa.string(), "STRING", pa.string(), pa.string()),
        (pa.large_string(), "STRING", pa.string(), pa.string()),
        (pa.string_view(), "STRING", pa.string(), pa.string()),
        (pa.null(), "STRING", pa.string(), pa.string()),
        (pa.dictionary(pa.int8(), pa.string()), "STRING", pa.string(), pa.string()),
        (pa.dictionary(pa.int32(), pa.int16()), "INTEGER", pa.int16(), pa.int64()),
        (pa.binary(), "BYTES", pa.binary(), pa.binary()),
        (pa.large_binary(), "BYTES", pa.binary(), pa.binary()),
        (pa.binary_view(), "BYTES", pa.binary(), pa.binary()),
        (pa.binary(16), "BYTES", pa.binary(), pa.binary()),
        (pa.timestamp("ns", "UTC"), "TIMESTAMP", UTC, UTC),
        (pa.timestamp("s", "Europe/Berlin"), "TIMESTAMP", UTC, UTC),
        (pa.timestamp("ms"), "DATETIME", pa.timestamp("us"), pa.timestamp("us")),
        (pa.date32(), "DATE", pa.date32(), pa.date32()),
        (pa.date64(), "DATE", pa.date32(), pa.date32()),
        (pa.time32("s"), "TIME", pa.time64("us"), pa.time64("us")),
        (pa.time64("ns"), "TIME", pa.time64("us"), pa.time64("us")),
        (pa.decimal128(38, 9), "NUMERIC", pa.decimal128(38, 9), pa.decimal128(38, 9)),
        (pa.decimal128(29, 0), "NUMERIC", pa.decimal128(29, 0), pa.decimal128(38, 9)),
        (pa.decimal256(12, 2), "NUMERIC", pa.decimal128(12, 2), pa.decimal128(38, 9)),
        (pa.decimal128(30, 0), "BIGNUMERIC", pa.decimal256(30, 0), pa.decimal256(76, 38)),
        (pa.decimal128(12, 10), "BIGNUMERIC", pa.decimal256(12, 10), pa.decimal256(76, 38)),
        (pa.decimal256(76, 38), "BIGNUMERIC", pa.decimal256(76, 38), pa.decimal256(76, 38)),
    ],
    ids=str,
)
def test_each_type_has_a_column_and_a_plain_form(type_, name, sent, read):
    schema = pa.schema({"x": type_})
    (field,) = to_bigquery(schema)
    assert (field.name, field.field_type, field.mode) == ("x", name, "NULLABLE")
    assert to_send(schema).types == [sent]
    assert to_arrow([field]).types == [read]


@pytest.mark.parametrize(
    "type_",
    [
        pa.list_(pa.dictionary(pa.int8(), pa.large_string())),
        pa.large_list(pa.large_string()),
        pa.list_(pa.string_view(), 3),
    ],
    ids=str,
)
def test_a_list_is_a_repeated_column(type_):
    schema = pa.schema({"tags": type_})
    (field,) = to_bigquery(schema)
    assert (field.field_type, field.mode) == ("STRING", "REPEATED")
    assert to_send(schema).types == [pa.list_(pa.string())]
    assert to_arrow([field]) == pa.schema([pa.field("tags", pa.list_(pa.string()), nullable=False)])


def test_a_struct_is_a_record():
    inner = pa.struct([pa.field("x", pa.int8(), nullable=False), ("y", pa.list_(pa.date64()))])
    schema = pa.schema({"place": inner})
    (field,) = to_bigquery(schema)
    assert (field.field_type, field.mode) == ("RECORD", "NULLABLE")
    assert [(f.field_type, f.mode) for f in field.fields] == [
        ("INTEGER", "REQUIRED"),
        ("DATE", "REPEATED"),
    ]
    sent = pa.struct([pa.field("x", pa.int8(), nullable=False), ("y", pa.list_(pa.date32()))])
    assert to_send(schema).types == [sent]


@pytest.mark.parametrize("type_", [pa.map_(pa.string(), pa.int64()), pa.list_(pa.struct(ENTRY))])
def test_a_map_is_a_list_of_its_entries(type_):
    (field,) = to_bigquery(pa.schema({"counts": type_}))
    assert (field.field_type, field.mode) == ("RECORD", "REPEATED")
    assert [(f.name, f.field_type, f.mode) for f in field.fields] == [
        ("key", "STRING", "REQUIRED"),
        ("value", "INTEGER", "NULLABLE"),
    ]
    assert to_send(pa.schema({"counts": type_})).types[0].value_type == pa.struct(ENTRY)


def test_a_field_that_may_not_be_null_is_required():
    schema = pa.schema([pa.field("x", pa.int64(), nullable=False)])
    (field,) = to_bigquery(schema)
    assert field.mode == "REQUIRED"
    assert to_arrow([field]) == schema
    assert to_send(schema) == schema


@pytest.mark.parametrize("name", ["JSON", "GEOGRAPHY"])
@pytest.mark.parametrize("mode", ["NULLABLE", "REPEATED"])
def test_text_that_was_read_as_more_is_written_as_that(name, mode):
    read = to_arrow([SchemaField("x", name, mode)])
    (field,) = to_bigquery(read)
    assert (field.field_type, field.mode) == (name, mode)
    assert to_send(read).field("x").metadata is None


def test_arrows_own_json_is_json():
    schema = pa.schema({"x": pa.json_()})
    assert to_bigquery(schema)[0].field_type == "JSON"
    assert to_send(schema).types == [pa.string()]


def test_an_interval_and_a_range_can_be_read():
    fields = [
        SchemaField("pause", "INTERVAL"),
        SchemaField("days", "RANGE", range_element_type="DATE"),
    ]
    assert to_arrow(fields).types == [
        pa.month_day_nano_interval(),
        pa.struct({"start": pa.date32(), "end": pa.date32()}),
    ]


@pytest.mark.parametrize(
    ("type_", "said"),
    [
        (pa.duration("s"), r"column 'x' has the type duration\[s\], for which BigQuery has none"),
        (pa.list_(pa.list_(pa.int8())), "column 'x' holds lists of lists"),
        (pa.struct({"y": pa.duration("s")}), r"column 'x\.y' has the type duration"),
        (pa.list_(pa.struct({"y": pa.duration("s")})), r"column 'x\.y' has the type duration"),
        (pa.decimal128(38, -3), "BigQuery's widest decimal"),
        (pa.decimal256(60, 10), r"type decimal256\(60, 10\): BigQuery's widest decimal"),
        (pa.struct({"y": pa.int8(), "Y": pa.int8()}), "the columns 'y' and 'Y' are one"),
    ],
    ids=str,
)
def test_what_has_no_counterpart_is_refused(type_, said):
    with pytest.raises(ValueError, match=said):
        to_bigquery(pa.schema({"x": type_}))


def test_a_type_that_is_new_to_us_is_named():
    with pytest.raises(ValueError, match="column 'x' has BigQuery's type FOREIGN, which cannot be"):
        to_arrow([SchemaField("x", "FOREIGN")])


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["a.b"], r"BigQuery takes no column 'a\.b'"),
        (["a`"], "BigQuery takes no column"),
        ([""], "BigQuery takes no column ''"),
        (["x" * 301], "1 to 300 characters"),
        (["_TABLE_x"], "keeps the start of the column name '_TABLE_x' for itself"),
        (["_partitiontime"], "keeps the start"),
        (["x", "y", "X"], "the columns 'x' and 'X' are one to BigQuery"),
    ],
)
def test_names_that_bigquery_refuses_are_refused(names, said):
    with pytest.raises(ValueError, match=said):
        check_names(names)


def test_names_of_other_scripts_and_with_blanks_are_fine():
    check_names(["Größe", "année 2024", "x-1", "1st", "%", "a&b"])
