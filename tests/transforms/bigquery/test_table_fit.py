import pyarrow as pa
import pytest
from google.cloud.bigquery import SchemaField

from scoreline.transforms.bigquery.column_types import to_bigquery
from scoreline.transforms.bigquery.table_fit import TableMismatchError, new_columns

SCORES = pa.schema({"order_id": pa.int64(), "tags": pa.list_(pa.string()), "score": pa.float64()})


def added(fields, schema, *, allow=False):
    return [(f.name, f.mode) for f in new_columns("p.ml.scores", fields, schema, allow=allow)]


def test_the_table_made_from_a_schema_fits_it():
    assert added(to_bigquery(SCORES), SCORES) == []


def test_neither_order_nor_the_width_of_a_number_matters():
    fields = [
        SchemaField("score", "FLOAT64", "REQUIRED"),
        SchemaField("tags", "STRING", "REPEATED"),
        SchemaField("order_id", "INT64"),
    ]
    schema = SCORES.set(0, pa.field("order_id", pa.int8(), nullable=False))
    assert added(fields, schema.set(2, pa.field("score", pa.float32()))) == []


def test_new_columns_are_given_where_they_are_allowed():
    schema = SCORES.append(pa.field("rank", pa.int64(), nullable=False))
    schema = schema.append(pa.field("top", pa.list_(pa.int64())))
    assert added(to_bigquery(SCORES), schema, allow=True) == [
        ("rank", "NULLABLE"),
        ("top", "REPEATED"),
    ]


def test_new_columns_are_refused_where_they_are_not():
    with pytest.raises(TableMismatchError) as raised:
        added(to_bigquery(SCORES.remove(2)), SCORES)
    assert str(raised.value) == (
        "the output does not fit the table p.ml.scores:\n"
        "  column    the output       the table\n"
        "  order_id  INTEGER          INTEGER\n"
        "  tags      STRING REPEATED  STRING REPEATED\n"
        "  score     FLOAT            (none)           <--\n"
        "Nothing was changed. What to do: allow new columns (--allow-new-columns), leave them out "
        "(--keep), or name another table."
    )


def test_columns_that_nobody_can_choose_need_another_table():
    with pytest.raises(TableMismatchError, match="What to do: name a new table, or one that has"):
        new_columns("p.ml.dead", to_bigquery(SCORES), SCORES.remove(2), allow=False, are_ours=True)


@pytest.mark.parametrize(
    ("type_", "shown"),
    [
        (pa.string(), "score     STRING"),
        (pa.list_(pa.float64()), "score     FLOAT REPEATED"),
        (pa.struct({"p": pa.float64()}), "score     RECORD<p FLOAT>"),
        (pa.decimal128(10, 2), "score     NUMERIC"),
    ],
)
@pytest.mark.parametrize("allow", [False, True])
def test_another_type_is_refused_with_both_schemas(type_, shown, allow):
    with pytest.raises(TableMismatchError) as raised:
        added(to_bigquery(SCORES), SCORES.set(2, pa.field("score", type_)), allow=allow)
    assert shown in str(raised.value)
    assert "change the table, or name another one" in str(raised.value)


def test_a_column_that_only_the_table_has_is_refused():
    with pytest.raises(TableMismatchError, match=r"score +\(none\) +FLOAT +<--"):
        added(to_bigquery(SCORES), SCORES.remove(2), allow=True)


def test_a_name_that_differs_in_its_case_is_refused():
    with pytest.raises(TableMismatchError, match=r"Score +FLOAT +\(none\) +<--"):
        added(to_bigquery(SCORES), SCORES.set(2, pa.field("Score", pa.float64())), allow=True)


def test_a_column_of_a_type_that_is_not_known_yet_fits_any():
    unknown = SCORES.set(2, pa.field("score", pa.null()))
    assert added(to_bigquery(SCORES), unknown) == []
    with pytest.raises(TableMismatchError, match=r"score +\(any\) +\(none\) +<--"):
        added(to_bigquery(SCORES.remove(2)), unknown)


def test_text_fits_json_and_geography():
    schema = pa.schema({"x": pa.string(), "y": pa.string()})
    assert added([SchemaField("x", "JSON"), SchemaField("y", "GEOGRAPHY")], schema) == []


def test_records_are_compared_field_by_field():
    schema = pa.schema({"place": pa.struct({"x": pa.int64(), "y": pa.int64()})})
    same = [SchemaField("y", "INTEGER"), SchemaField("x", "INT64")]
    assert added([SchemaField("place", "STRUCT", fields=same)], schema) == []
    other = [SchemaField("x", "INTEGER"), SchemaField("y", "FLOAT")]
    with pytest.raises(TableMismatchError, match="RECORD<x INTEGER, y FLOAT>"):
        added([SchemaField("place", "RECORD", fields=other)], schema)
