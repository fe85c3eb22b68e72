"""Tables on the emulator: that the requests and statements are BigQuery's own language."""

import pyarrow as pa
import pytest

from scoreline.transforms.bigquery.errors import BigQueryError
from scoreline.transforms.bigquery.names import TableName
from scoreline.transforms.bigquery.table_fit import TableMismatchError, new_columns
from scoreline.transforms.bigquery.tables import (
    add_columns,
    create,
    create_staging,
    delete_temporary,
    describe,
    job_place,
    replace,
    was_replaced,
)

SCHEMA = pa.schema(
    {
        "day": pa.date32(),
        "order_id": pa.int64(),
        "price": pa.decimal128(10, 2),
        "tags": pa.list_(pa.string()),
        "place": pa.struct({"city": pa.string()}),
        "prediction": pa.dictionary(pa.int8(), pa.string()),
    }
)


@pytest.fixture
def scores(bq):
    return TableName(bq.project, bq.dataset(), "scores")


def test_a_table_is_made_as_it_was_asked_for_and_found_again(scores):
    assert describe(scores) is None
    create(scores, SCHEMA, partition_by="day", cluster_by=["order_id"])
    found = describe(scores)
    assert found is not None
    assert found.kind == "TABLE"
    assert found.layout == "partitioned by day, clustered by order_id"
    assert new_columns(scores, found.fields, SCHEMA, allow=False) == []
    create(scores, pa.schema({"other": pa.string()}))
    assert describe(scores) == found


def test_new_columns_are_added_and_old_rows_have_none(bq, scores):
    create(scores, SCHEMA)
    bq.query(f"INSERT INTO {scores.sql} (order_id) VALUES (1)")
    more = SCHEMA.append(pa.field("rank", pa.int64()))
    found = describe(scores)
    assert found is not None
    with pytest.raises(TableMismatchError):
        new_columns(scores, found.fields, more, allow=False)
    bq.widen(scores, "rank INT64")
    add_columns(scores, more)
    add_columns(scores, more)
    found = describe(scores)
    assert found is not None
    assert new_columns(scores, found.fields, more, allow=False) == []
    assert bq.query(f"SELECT order_id, rank FROM {scores.sql}") == [{"order_id": 1, "rank": None}]


def test_all_rows_are_replaced_at_once_and_only_once(bq, scores):
    create(scores, SCHEMA, partition_by="day", cluster_by=["order_id"])
    bq.query(f"INSERT INTO {scores.sql} (day, order_id) VALUES (DATE '2024-01-31', 1)")
    staging = create_staging(scores, "run-1", 0)
    place = job_place(staging)
    bq.query(
        f"INSERT INTO {staging.sql} (day, order_id, tags, place) "
        "SELECT DATE '2024-02-01', x, ['a'], STRUCT('Ulm') FROM UNNEST([2, 3]) AS x"
    )
    assert not was_replaced(scores, "run-1_replace", place)
    for _ in range(2):
        replace(scores, staging, "run-1_replace", place)
    assert was_replaced(scores, "run-1_replace", place)
    found = bq.query(f"SELECT order_id, tags, place FROM {scores.sql} ORDER BY order_id")
    assert found == [{"order_id": x, "tags": ["a"], "place": {"city": "Ulm"}} for x in (2, 3)]
    delete_temporary(staging, "run-1")
    delete_temporary(staging, "run-1")
    assert was_replaced(scores, "run-1_replace", place)
    assert bq.tables(scores.dataset) == ["scores"]
    described = describe(scores)
    assert described is not None
    assert described.layout == "partitioned by day, clustered by order_id"


def test_a_replacement_that_fails_changes_nothing(bq, scores):
    create(scores, SCHEMA)
    bq.query(f"INSERT INTO {scores.sql} (order_id) VALUES (1)")
    with pytest.raises(BigQueryError, match=r"cannot replace .*\.scores: "):
        replace(scores, scores.sibling("none"), "run-2_replace", job_place(scores))
    assert not was_replaced(scores, "run-2_replace", job_place(scores))
    assert bq.query(f"SELECT order_id FROM {scores.sql}") == [{"order_id": 1}]


def test_a_column_that_was_added_meanwhile_is_null_in_the_rows_that_replace_others(bq, scores):
    create(scores, SCHEMA)
    staging = create_staging(scores, "run-3", 0)
    bq.query(f"INSERT INTO {staging.sql} (order_id) VALUES (2)")
    bq.widen(scores, "rank INT64")
    add_columns(scores, SCHEMA.append(pa.field("rank", pa.int64())))
    bq.query(f"INSERT INTO {scores.sql} (order_id, rank) VALUES (1, 7)")
    replace(scores, staging, "run-3_replace", job_place(staging))
    assert bq.query(f"SELECT order_id, rank FROM {scores.sql}") == [{"order_id": 2, "rank": None}]
