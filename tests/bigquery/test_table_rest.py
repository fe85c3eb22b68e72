"""Tables, as a double of the REST interface sees the requests."""

from datetime import UTC, datetime

import pyarrow as pa
import pytest

from scoreline.transforms.bigquery.errors import BigQueryError
from scoreline.transforms.bigquery.names import TableName
from scoreline.transforms.bigquery.table_fit import TableMismatchError
from scoreline.transforms.bigquery.tables import (
    JobPlace,
    add_columns,
    check_new,
    create,
    create_staging,
    delete_temporary,
    describe,
    job_place,
    replace,
    was_replaced,
)

SCORES = TableName("p-1", "ml", "scores")
NEW = SCORES.sibling("new")
HERE = JobPlace("p-1", "EU")
SCHEMA = pa.schema({"day": pa.date32(), "order_id": pa.int64(), "score": pa.float64()})
DAY_SECS = 86_400


@pytest.fixture
def double(rest_double):
    rest_double.add_dataset("p-1.ml")
    return rest_double


def made(double, name="p-1.ml.scores"):
    return double.tables[name]


def secs_from_now(resource):
    return int(resource["expirationTime"]) / 1000 - datetime.now(UTC).timestamp()


def test_what_is_not_there_is_none(double):
    assert describe(SCORES) is None


def test_a_table_says_what_it_is(double):
    double.add_table(
        "p-1.ml.scores",
        ("day", "DATE"),
        ("score", "FLOAT"),
        numRows="7",
        numBytes="112",
        streamingBuffer={"estimatedRows": "3"},
        timePartitioning={"type": "DAY", "field": "day"},
        clustering={"fields": ["score"]},
        requirePartitionFilter=True,
    )
    found = describe(SCORES)
    assert found is not None
    assert (found.num_rows, found.num_bytes, found.is_buffered) == (7, 112, True)
    assert (found.kind, found.location, found.requires_filter) == ("TABLE", "EU", True)
    assert found.layout == "partitioned by day, clustered by score"
    assert [field.name for field in found.fields] == ["day", "score"]


def test_a_table_without_more_says_so(double):
    double.add_table("p-1.ml.scores", ("score", "FLOAT"))
    found = describe(SCORES)
    assert found is not None
    assert (found.layout, found.is_buffered, found.requires_filter) == ("", False, False)


def test_a_table_of_partitions_keeps_each_for_some_days(double):
    create(SCORES, SCHEMA, partition_by="day", cluster_by=["order_id"], expiration_days=30)
    assert made(double)["timePartitioning"] == {
        "type": "DAY",
        "field": "day",
        "expirationMs": str(30 * DAY_SECS * 1000),
    }
    assert made(double)["clustering"] == {"fields": ["order_id"]}
    assert "expirationTime" not in made(double)
    assert [(f["name"], f["type"], f["mode"]) for f in made(double)["schema"]["fields"]] == [
        ("day", "DATE", "NULLABLE"),
        ("order_id", "INTEGER", "NULLABLE"),
        ("score", "FLOAT", "NULLABLE"),
    ]


def test_a_table_without_partitions_expires_as_a_whole(double):
    assert create(SCORES, SCHEMA, expiration_days=0.5)
    assert secs_from_now(made(double)) == pytest.approx(DAY_SECS / 2, abs=60)
    assert "timePartitioning" not in made(double)


def test_a_table_that_another_run_has_made_is_kept(double):
    double.add_table("p-1.ml.scores", ("other", "STRING"))
    assert not create(SCORES, SCHEMA)
    assert made(double)["schema"]["fields"] == [{"name": "other", "type": "STRING"}]


def test_an_answer_that_was_lost_is_asked_for_again(double):
    double.fail("POST", "tables", None)
    create(SCORES, SCHEMA)
    assert len(made(double)["schema"]["fields"]) == 3
    assert [request[0] for request in double.requests] == ["POST", "POST"]


@pytest.mark.parametrize(
    ("layout", "said"),
    [
        ({"partition_by": "week"}, r"no column 'week' to lay the table out by: it has \['day'"),
        ({"cluster_by": ["week"]}, "no column 'week'"),
        ({"partition_by": "score"}, "cannot be partitioned by 'score', which is of the type FLOAT"),
        ({"cluster_by": ["score"]}, "cannot be clustered by 'score', which is of the type FLOAT"),
        ({"cluster_by": ["day"] * 5}, "clustered by 4 columns at most"),
    ],
)
def test_a_layout_that_cannot_be_is_refused_before_anything_is_made(double, layout, said):
    with pytest.raises(ValueError, match=said):
        check_new(SCORES, SCHEMA, **layout)
    with pytest.raises(ValueError, match=said):
        create(SCORES, SCHEMA, **layout)
    assert not double.requests


def test_a_check_makes_nothing(double):
    check_new(SCORES, SCHEMA, "day", ["order_id"])
    assert not double.tables
    assert {request[0] for request in double.requests} == {"GET"}


def test_a_dataset_that_is_not_there_is_said(double):
    with pytest.raises(BigQueryError, match=r"cannot look at the dataset p-1\.lm: it is not there"):
        check_new(TableName("p-1", "lm", "scores"), SCHEMA)


@pytest.mark.parametrize(
    ("method", "call", "role"),
    [
        ("GET", lambda: describe(SCORES), "roles/bigquery.metadataViewer"),
        ("POST", lambda: create(SCORES, SCHEMA), "roles/bigquery.dataEditor on the dataset"),
        ("PATCH", lambda: add_columns(SCORES, SCHEMA), "roles/bigquery.dataEditor on the table"),
        (
            "DELETE",
            lambda: delete_temporary(SCORES.sibling("scoreline_tmp_r1_0"), "r1"),
            "roles/bigquery.dataEditor on the dataset",
        ),
        (
            "POST",
            lambda: replace(SCORES, SCORES, "job", HERE),
            "roles/bigquery.jobUser on the project",
        ),
    ],
)
def test_a_permission_that_is_missing_is_named_with_its_role(double, method, call, role):
    double.add_table("p-1.ml.scores", ("day", "DATE"))
    double.fail(method, ".*", 403, reason="accessDenied", message="Access Denied")
    with pytest.raises(BigQueryError, match=f"permission denied. Grant .*{role}"):
        call()


def test_columns_are_added_once(double):
    double.add_table("p-1.ml.scores", ("day", "DATE"), ("order_id", "INTEGER"))
    add_columns(SCORES, SCHEMA)
    add_columns(SCORES, SCHEMA)
    fields = made(double)["schema"]["fields"]
    assert [field["name"] for field in fields] == ["day", "order_id", "score"]
    assert fields[-1]["mode"] == "NULLABLE"
    assert [request[0] for request in double.requests].count("PATCH") == 1


def test_a_table_that_changed_meanwhile_is_looked_at_again(double):
    double.add_table("p-1.ml.scores", ("day", "DATE"), ("order_id", "INTEGER"))
    double.fail("PATCH", ".*", 412, reason="conditionNotMet", message="changed", times=2)
    add_columns(SCORES, SCHEMA)
    assert len(made(double)["schema"]["fields"]) == 3
    patches = [headers for method, _, headers, _ in double.requests if method == "PATCH"]
    assert all(headers["If-Match"] for headers in patches)


def test_a_table_that_changes_all_the_time_is_given_up(double):
    double.add_table("p-1.ml.scores", ("day", "DATE"), ("order_id", "INTEGER"))
    double.fail("PATCH", ".*", 412, reason="conditionNotMet", message="changed", times=9)
    with pytest.raises(BigQueryError, match="it changed 5 times meanwhile"):
        add_columns(SCORES, SCHEMA)


def test_a_table_of_other_columns_is_not_altered(double):
    double.add_table("p-1.ml.scores", ("day", "STRING"))
    with pytest.raises(TableMismatchError, match="does not fit the table"):
        add_columns(SCORES, SCHEMA)
    assert made(double)["schema"]["fields"] == [{"name": "day", "type": "STRING"}]


def test_a_staging_table_is_like_its_target_and_goes_by_itself(double):
    create(SCORES, SCHEMA, partition_by="day", cluster_by=["order_id"])
    staging = create_staging(SCORES, "r1", 0)
    assert create_staging(SCORES, "r1", 0) == staging
    ours = made(double, str(staging))
    for key in ("schema", "timePartitioning", "clustering"):
        assert ours[key] == made(double)[key]
    assert secs_from_now(ours) == pytest.approx(7 * DAY_SECS, abs=60)
    assert "run r1, which replaces p-1.ml.scores" in ours["description"]


def test_a_table_that_demands_a_filter_cannot_be_replaced(double):
    double.add_table("p-1.ml.scores", ("day", "DATE"), requirePartitionFilter=True)
    with pytest.raises(BigQueryError, match="it demands a filter of every statement"):
        create_staging(SCORES, "r1", 0)
    assert list(double.tables) == ["p-1.ml.scores"]


@pytest.fixture
def both(double):
    """A table, and another one that has its columns."""
    for table in (SCORES, NEW):
        double.add_table(str(table), ("day", "DATE"), ("score", "FLOAT"))
    return double


def test_a_replacement_happens_once(both):
    assert not was_replaced(SCORES, "r1_replace", HERE)
    for _ in range(2):
        replace(SCORES, NEW, "r1_replace", HERE)
    assert was_replaced(SCORES, "r1_replace", HERE)
    assert both.executed == {
        "r1_replace": (
            "MERGE INTO `p-1.ml.scores` USING `p-1.ml.new` ON FALSE\n"
            "WHEN NOT MATCHED THEN INSERT (`day`, `score`) VALUES (`day`, `score`)\n"
            "WHEN NOT MATCHED BY SOURCE THEN DELETE"
        )
    }


def test_a_column_that_somebody_adds_meanwhile_is_left_out_of_a_replacement(both):
    add_columns(SCORES, SCHEMA)
    replace(SCORES, NEW, "r1_replace", HERE)
    assert "order_id" in str(made(both))
    assert "INSERT (`day`, `score`) VALUES" in both.executed["r1_replace"]


def test_a_replacement_is_found_when_both_tables_are_gone(both):
    replace(SCORES, NEW, "r1_replace", HERE)
    both.tables.clear()
    assert was_replaced(SCORES, "r1_replace", HERE)


def test_a_replacement_is_looked_for_in_the_project_that_was_charged_first(both, monkeypatch):
    monkeypatch.setenv("GOOGLE_CLOUD_QUOTA_PROJECT", "payer")
    place = job_place(SCORES)
    assert place == JobPlace("payer", "EU")
    replace(SCORES, NEW, "r1_replace", place)
    monkeypatch.setenv("GOOGLE_CLOUD_QUOTA_PROJECT", "another")
    assert was_replaced(SCORES, "r1_replace", place)
    replace(SCORES, NEW, "r1_replace", place)
    assert both.projects == ["payer"]


def test_a_replacement_whose_answer_was_lost_happens_once(both):
    both.fail("POST", "jobs", None)
    replace(SCORES, NEW, "r1_replace", HERE)
    assert list(both.executed) == ["r1_replace"]


def test_a_replacement_that_failed_is_tried_anew(both):
    both.failures["MERGE"] = ["resources exceeded"]
    said = r"cannot replace p-1\.ml\.scores: .*resources exceeded"
    with pytest.raises(BigQueryError, match=said):
        replace(SCORES, NEW, "r1_replace", HERE)
    assert not was_replaced(SCORES, "r1_replace", HERE)
    replace(SCORES, NEW, "r1_replace", HERE)
    assert was_replaced(SCORES, "r1_replace", HERE)
    assert list(both.executed) == ["r1_replace_2"]


@pytest.mark.parametrize("table", ["scores", "scoreline_tmp_r2_0", "scoreline_tmp_r1_x"])
def test_only_what_the_run_made_is_deleted(double, table):
    double.add_table(f"p-1.ml.{table}", ("day", "DATE"))
    with pytest.raises(ValueError, match=f"{table} was not made by the run r1, and is not deleted"):
        delete_temporary(SCORES.sibling(table), "r1")
    assert f"p-1.ml.{table}" in double.tables
    assert not double.requests


def test_what_the_run_made_is_deleted_and_may_be_gone_already(double):
    create(SCORES, SCHEMA)
    staging = create_staging(SCORES, "r1", 0)
    delete_temporary(staging, "r1")
    delete_temporary(staging, "r1")
    assert list(double.tables) == ["p-1.ml.scores"]


def test_an_outage_is_waited_out(double):
    double.add_table("p-1.ml.scores", ("day", "DATE"))
    double.fail("GET", "tables", 503, reason="backendError", message="down")
    assert describe(SCORES) is not None
