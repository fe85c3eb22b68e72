"""Tables and queries as input, on the emulator; and on doubles, for what it does not do."""

import pickle

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that, equal_to

from scoreline.transforms import ReadSplits
from scoreline.transforms.bigquery.errors import BigQueryError
from scoreline.transforms.bigquery.names import TableName
from scoreline.transforms.bigquery_input import inspect_query, inspect_table
from scoreline.transforms.identity import row_ids
from scoreline.transforms.read_files import BATCHES, RECEIPTS
from scoreline.transforms.receipts import Receipt
from scoreline.transforms.splits import plan_splits, read_split

NUM_ROWS = 60_000  # more than 1 MB: the emulator gives less than that as one stream
ORDERS = pa.table(
    {
        "order_id": pa.array(np.arange(NUM_ROWS)),
        "amount": pa.array(np.arange(NUM_ROWS) / 8),
        "customer": pa.array([f"c{number % 97}" for number in range(NUM_ROWS)]),
    }
)


@pytest.fixture(scope="module")
def dataset(bq):
    return f"{bq.project}.{bq.dataset()}"


@pytest.fixture(scope="module")
def orders(bq, dataset):
    name = TableName.parse(f"{dataset}.orders")
    bq.load(str(name), ORDERS)
    return name


def batches_of(opened, columns=None):
    splits = pickle.loads(pickle.dumps(plan_splits([opened])))
    return [batch for split in splits for batch in read_split(split, columns)]


def rows_of(batches, *names):
    return pa.Table.from_batches([batch.select(list(names)) for batch in batches])


def test_a_table_says_its_columns_before_it_is_read(orders):
    info = inspect_table(orders)
    assert info.path == f"bq://{orders}"
    assert info.schema == ORDERS.schema
    with pytest.raises(RuntimeError, match="has to be opened before it is read"):
        info.ranges()


def test_every_row_is_read_once_and_has_a_name_of_its_own(orders):
    opened = inspect_table(orders).open("r1", max_streams=4)
    assert len(list(opened.ranges())) > 1
    batches = batches_of(opened)
    found = rows_of(batches, *ORDERS.column_names).sort_by("order_id")
    assert found.equals(ORDERS)
    names = pa.chunked_array([row_ids(batch) for batch in batches])
    assert len(names.unique()) == NUM_ROWS
    assert names[0].as_py().startswith(f"bq://{orders}@")
    opened.close()


def ids_of(batch: pa.RecordBatch) -> list[int]:
    return batch.column("order_id").to_pylist()


def test_a_pipeline_reads_its_streams_as_splits(orders):
    opened = inspect_table(orders, "order_id < 100").open("r1", ("order_id",))
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        read = pipeline | ReadSplits(plan_splits([opened]), ("order_id",))
        assert_that(read[BATCHES] | beam.FlatMap(ids_of), equal_to(list(range(100))), "Rows")
        assert_that(read[RECEIPTS], equal_to([Receipt("read", 0, 100)]), "Receipts")


def test_a_range_that_is_read_again_gives_the_same_rows_the_same_names(orders):
    opened = inspect_table(orders).open("r1", max_streams=3)
    for range_, _ in opened.ranges():
        first, again = (list(range_.read(0, ("order_id",))) for _ in range(2))
        assert first == again
        for one, other in zip(first, again, strict=True):
            assert row_ids(one).equals(row_ids(other))


def test_only_the_columns_that_are_asked_for_are_read_in_their_order(orders):
    info = inspect_table(orders)
    batches = batches_of(info.open("r1", ("customer", "order_id")), ("customer", "order_id"))
    assert rows_of(batches, "customer", "order_id").num_rows == NUM_ROWS
    assert batches[0].schema.names[:2] == ["customer", "order_id"]
    assert "amount" not in batches[0].schema.names
    with pytest.raises(ValueError, match="but \\['price'\\] not exactly once"):
        info.open("r1", ("price",))


def test_a_filter_is_left_to_bigquery(orders):
    info = inspect_table(orders, "order_id >= 59990")
    assert info.num_rows is None
    opened = info.open("r1", ("order_id",))
    assert opened.num_rows is None
    found = rows_of(batches_of(opened), "order_id").column(0).to_pylist()
    assert sorted(found) == list(range(59_990, NUM_ROWS))


def test_small_answers_become_batches_that_a_model_likes(orders):
    batches = batches_of(inspect_table(orders).open("r1", max_streams=1))
    assert all(batch.num_rows >= 8_192 for batch in batches[:-1])


def test_an_empty_table_has_nothing_to_read(bq, dataset):
    name = TableName.parse(f"{dataset}.empty")
    bq.query(f"CREATE TABLE {name.sql} (order_id INT64)")
    assert batches_of(inspect_table(name).open("r1")) == []


def test_types_come_as_the_metadata_promises(bq, dataset):
    name = TableName.parse(f"{dataset}.types")
    bq.query(
        f"CREATE TABLE {name.sql} AS SELECT 1 AS i, 2.5 AS f, TRUE AS b, 'x' AS s, b'x' AS y, "
        "DATE '2024-01-31' AS d, TIMESTAMP '2024-01-31 12:00:00+00' AS t, "
        "DATETIME '2024-01-31 12:00:00' AS dt, TIME '12:00:00' AS ti, NUMERIC '1.25' AS n, "
        "[1, 2] AS l, STRUCT('k' AS key, 3 AS value) AS r"
    )
    info = inspect_table(name)
    (batch,) = batches_of(info.open("r1"))
    read = batch.select(info.schema.names)
    assert read.schema.remove_metadata() == info.schema
    (row,) = read.to_pylist()
    assert (row["i"], row["f"], row["b"], row["s"], row["y"]) == (1, 2.5, True, "x", b"x")
    assert (str(row["n"]), row["l"], row["r"]) == ("1.250000000", [1, 2], {"key": "k", "value": 3})
    assert row["t"].isoformat() == "2024-01-31T12:00:00+00:00"
    assert row["dt"].isoformat() == "2024-01-31T12:00:00"
    assert (str(row["d"]), str(row["ti"])) == ("2024-01-31", "12:00:00")


def test_a_table_that_is_not_there_is_said(orders):
    with pytest.raises(BigQueryError, match=r"there is no table scoreline-tests\..*\.none\. Check"):
        inspect_table(orders.sibling("none"))


def test_a_view_is_refused_with_the_query_that_reads_it(bq, orders):
    view = orders.sibling("view_of_orders")
    bq.query(f"CREATE VIEW {view.sql} AS SELECT * FROM {orders.sql}")
    with pytest.raises(BigQueryError, match=r'is a VIEW, .*source\.query "SELECT \* FROM `'):
        inspect_table(view)


def test_a_query_runs_into_a_table_of_the_run_that_goes_with_it(bq, orders, dataset):
    query = f"SELECT customer, SUM(amount) AS total FROM {orders.sql} GROUP BY customer -- all\n;"
    info = inspect_query(query, dataset)
    assert info.path == "query"
    assert info.schema.names == ["customer", "total"]
    before = bq.tables(orders.dataset)
    opened = info.open("run-1", ("customer", "total"))
    assert set(bq.tables(orders.dataset)) - set(before) == {"scoreline_tmp_run_1_999999"}
    found = rows_of(batches_of(opened), "customer", "total").sort_by("customer")
    expected = ORDERS.group_by("customer").aggregate([("amount", "sum")]).sort_by("customer")
    assert found.column("total").to_pylist() == expected.column("amount_sum").to_pylist()
    again = info.open("run-1")
    assert again.path == opened.path
    opened.close()
    again.close()
    assert bq.tables(orders.dataset) == before


def test_closing_a_table_deletes_nothing(bq, orders):
    before = bq.tables(orders.dataset)
    inspect_table(orders).open("r1").close()
    assert bq.tables(orders.dataset) == before


def test_a_query_that_is_wrong_is_refused_before_anything_runs(dataset):
    with pytest.raises(BigQueryError, match="cannot query the input: "):
        inspect_query("SELEC 1", dataset)
