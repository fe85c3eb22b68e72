"""What a check says of an input: estimates, plans, refusals, which the emulator does not give."""

import pickle

import grpc
import pyarrow as pa
import pytest
from read_double import Break

from scoreline.transforms.bigquery.errors import BigQueryError
from scoreline.transforms.bigquery.names import TableName
from scoreline.transforms.bigquery_input import inspect_query, inspect_table
from scoreline.transforms.identity import row_ids
from scoreline.transforms.splits import plan_splits, read_split

ORDERS = TableName("p-1", "sales", "orders")
QUERY = "SELECT x FROM sales.orders"


@pytest.fixture
def double(rest_double):
    rest_double.add_dataset("p-1.sales", location="europe-west3")
    rest_double.add_table(str(ORDERS), ("x", "INTEGER"), ("y", "STRING"), numRows="4", numBytes="9")
    return rest_double


def planned(double, text, **plan):
    double.plans[text] = {"query": {"totalBytesProcessed": plan.pop("scanned", "0"), **plan}}


def schema_of(*columns):
    return {"fields": [{"name": name, "type": type_} for name, type_ in columns]}


def dry_runs(double):
    bodies = [body for _, path, _, body in double.requests if path.endswith("/jobs")]
    return [body["configuration"] for body in bodies if body["configuration"].get("dryRun")]


def test_a_table_says_how_large_it_is(double):
    info = inspect_table(ORDERS)
    assert (info.num_rows, info.num_bytes) == (4, 9)
    assert inspect_table(ORDERS, "x > 1").num_rows is None


def test_rows_that_were_just_streamed_in_are_not_counted(double):
    double.tables[str(ORDERS)]["streamingBuffer"] = {"estimatedRows": "1"}
    assert inspect_table(ORDERS).num_rows is None


def test_bigquery_says_what_columns_and_a_filter_scan(double):
    planned(double, "SELECT `x` FROM `p-1.sales.orders` WHERE (\nx > 1\n)", scanned="32")
    assert inspect_table(ORDERS, "x > 1").bytes_scanned(("x",)) == 32
    (configuration,) = dry_runs(double)
    assert configuration["query"]["useQueryCache"] is False
    assert not double.executed


def test_a_filter_that_is_wrong_is_refused_before_the_start(double):
    double.fail("POST", "jobs", 400, reason="invalidQuery", message="Unrecognized name: z")
    with pytest.raises(BigQueryError, match="BigQuery says: Unrecognized name: z"):
        inspect_table(ORDERS, "z > 1").bytes_scanned()


def test_whoever_may_not_query_may_still_read(double):
    double.fail("POST", "jobs", 403, reason="accessDenied", message="no bigquery.jobs.create")
    assert inspect_table(ORDERS).bytes_scanned() is None


def test_a_query_is_planned_and_not_run(double):
    table = {"projectId": "p-1", "datasetId": "sales", "tableId": "orders"}
    planned(
        double,
        QUERY,
        scanned="64",
        statementType="SELECT",
        schema=schema_of(("x", "INTEGER")),
        referencedTables=[table],
    )
    info = inspect_query(f"{QUERY};\n")
    assert info.schema == pa.schema({"x": pa.int64()})
    assert (info.num_rows, info.num_bytes, info.bytes_scanned()) == (None, 64, 64)
    assert not double.executed
    assert str(info.scratch) == "p-1.sales.query"


@pytest.mark.parametrize(
    ("plan", "dataset", "said"),
    [
        ({"statementType": "DELETE"}, None, "expected one SELECT statement, got a DELETE"),
        ({"statementType": "SCRIPT"}, None, "expected one SELECT statement, got a SCRIPT"),
        (
            {"statementType": "SELECT", "schema": schema_of(("x", "INTEGER"))},
            None,
            "name one with source.temp_dataset, as project.dataset",
        ),
        ({}, "sales", "source.temp_dataset: expected project.dataset, got 'sales'"),
    ],
)
def test_what_cannot_run_into_a_table_is_refused(double, plan, dataset, said):
    planned(double, QUERY, **plan)
    with pytest.raises(ValueError, match=said):
        inspect_query(QUERY, dataset)


def test_a_dataset_that_is_not_there_is_found_before_the_start(double):
    planned(double, QUERY, statementType="SELECT", schema=schema_of(("x", "INTEGER")))
    with pytest.raises(BigQueryError, match=r"look at the dataset p-1\.none: it is not there"):
        inspect_query(QUERY, "p-1.none")


def test_a_query_runs_once_into_a_table_that_expires(double, read_double):
    planned(double, QUERY, statementType="SELECT", schema=schema_of(("x", "INTEGER")))
    made = ORDERS.sibling("scoreline_tmp_run_1_999999")
    double.add_table(str(made), ("x", "INTEGER"))
    read_double.add(made.path, pa.table({"x": [1, 2]}))
    info = inspect_query(QUERY, "p-1.sales")
    for _ in range(2):
        opened = info.open("run-1")
    ((job, statement),) = double.executed.items()
    assert job == made.table
    assert statement == (
        f"CREATE TABLE `{made}`\n"
        "OPTIONS (expiration_timestamp = TIMESTAMP_ADD(CURRENT_TIMESTAMP(), INTERVAL 168 HOUR))\n"
        f"AS (\n{QUERY}\n)"
    )
    started = [body for _, _, _, body in double.requests if body and "jobReference" in body]
    assert started[-1]["jobReference"]["location"] == "europe-west3"
    opened.close()
    assert str(made) not in double.tables
    assert str(ORDERS) in double.tables


def test_a_query_whose_result_cannot_be_read_leaves_no_table(double, read_double):
    planned(double, QUERY, statementType="SELECT", schema=schema_of(("x", "INTEGER")))
    made = ORDERS.sibling("scoreline_tmp_run_1_999999")
    double.add_table(str(made), ("x", "INTEGER"))
    read_double.refuse_session(grpc.StatusCode.PERMISSION_DENIED, "no")
    with pytest.raises(BigQueryError, match="readSessionUser"):
        inspect_query(QUERY, "p-1.sales").open("run-1")
    assert list(double.tables) == [str(ORDERS)]


def test_a_table_that_changed_while_it_was_opened_has_no_count(double, read_double):
    read_double.add(ORDERS.path, pa.table({"x": [1, 2, 3, 4], "y": list("abcd")}))
    info = inspect_table(ORDERS)
    assert info.open("r1").num_rows == 4

    def write_meanwhile():
        double.add_table(str(ORDERS), ("x", "INTEGER"), ("y", "STRING"), numRows="5")

    read_double.before_session = write_meanwhile
    assert info.open("r1").num_rows is None


def test_a_large_table_is_cut_into_streams_of_a_splits_size(double, read_double):
    read_double.add(ORDERS.path, pa.table({"x": range(1000), "y": ["a"] * 1000}))
    read_double.max_streams = 1_000
    double.tables[str(ORDERS)]["numBytes"] = str(1000 * 2**20)
    opened = inspect_table(ORDERS).open("r1")
    assert read_double.sessions[0].max_stream_count == 16
    assert len(list(opened.ranges())) == 16
    inspect_table(ORDERS).open("r1", max_streams=5)
    assert read_double.sessions[1].max_stream_count == 5


def test_columns_come_in_the_order_and_types_that_were_promised(double, read_double):
    rows = pa.table({"y": pa.array(["a", None], pa.large_string()), "x": pa.array([1, 2])})
    read_double.add(ORDERS.path, rows)
    (split,) = plan_splits([inspect_table(ORDERS).open("r1")])
    (batch,) = read_split(split)
    assert batch.schema.names[:2] == ["x", "y"]
    assert batch.schema.types[:2] == [pa.int64(), pa.string()]
    assert batch.column("y").to_pylist() == ["a", None]


def test_a_large_answer_does_not_reach_the_model_whole(double, read_double):
    values = pa.array(range(100_000))
    read_double.add(ORDERS.path, pa.table({"x": values, "y": ["a"] * 100_000}))
    read_double.batch_rows = 100_000
    (split,) = plan_splits([inspect_table(ORDERS).open("r1")])
    batches = list(read_split(split))
    assert [batch.num_rows for batch in batches] == [*[14_286] * 6, 14_284]
    assert pa.chunked_array([batch.column("x") for batch in batches]) == pa.chunked_array([values])
    names = [name for batch in batches for name in row_ids(batch).to_pylist()]
    assert [name.rpartition("#")[2] for name in names] == [str(row) for row in range(100_000)]


def test_a_snapshot_that_has_expired_is_said_on_any_worker(double, read_double):
    read_double.add(ORDERS.path, pa.table({"x": [1], "y": ["a"]}))
    read_double.expires_at = 1_700_000_000
    (split,) = pickle.loads(pickle.dumps(plan_splits([inspect_table(ORDERS).open("r1")])))
    read_double.break_stream(0, Break(0, grpc.StatusCode.NOT_FOUND))
    with pytest.raises(BigQueryError, match="could be read until 2023-11-14 22:13 UTC"):
        list(read_split(split))


def test_a_stream_that_breaks_for_good_fails_the_run_with_a_reason(double, read_double):
    read_double.add(ORDERS.path, pa.table({"x": [1], "y": ["a"]}))
    (split,) = plan_splits([inspect_table(ORDERS).open("r1")])
    read_double.break_stream(0, Break(0, grpc.StatusCode.PERMISSION_DENIED))
    with pytest.raises(BigQueryError, match=r"permission denied\. Grant .*readSessionUser"):
        list(read_split(split))
