"""What a run makes in BigQuery when it starts, and what it removes, on a double of the service."""

from dataclasses import replace

import pyarrow as pa
import pytest

from scoreline.pipelines.errors import UsageError
from scoreline.pipelines.job_bigquery import CreateSpec
from scoreline.pipelines.tables import TableClaim, Target
from scoreline.transforms.bigquery.names import TableName

SCORES = TableName("p-1", "ml", "scores")
SCHEMA = pa.schema({"order_id": pa.int64(), "score": pa.float64()})
NEW = Target(SCORES, SCHEMA, is_new=True)


@pytest.fixture
def double(rest_double):
    rest_double.add_dataset("p-1.ml")
    return rest_double


def claim_of(folder, *targets):
    return TableClaim(targets, "r1", str(folder))


def columns(double):
    return [field["name"] for field in double.tables[str(SCORES)]["schema"]["fields"]]


def test_a_table_that_is_missing_is_made(double, tmp_path):
    claim_of(tmp_path, replace(NEW, create=CreateSpec(cluster_by=("order_id",)))).take()
    assert columns(double) == ["order_id", "score"]
    assert double.tables[str(SCORES)]["clustering"] == {"fields": ["order_id"]}


def test_a_table_that_another_run_has_just_made_with_other_columns_is_refused(double, tmp_path):
    double.add_table(str(SCORES), ("order_id", "STRING"), ("score", "FLOAT"))
    said = (
        r"bq://p-1\.ml\.scores: the output does not fit the table p-1\.ml\.scores:\n"
        r"  column    the output  the table\n"
        r"  order_id  INTEGER     STRING     <--\n"
        r"  score     FLOAT       FLOAT\n"
    )
    with pytest.raises(UsageError, match=said):
        claim_of(tmp_path, NEW).take()
    assert not [method for method, *_ in double.requests if method == "PATCH"]


def test_a_table_that_another_run_has_just_made_alike_is_taken(double, tmp_path):
    double.add_table(str(SCORES), ("order_id", "INTEGER"), ("score", "FLOAT"))
    claim_of(tmp_path, NEW).take()
    assert columns(double) == ["order_id", "score"]


def test_a_table_that_another_run_has_just_made_gets_new_columns_if_they_are_allowed(
    double, tmp_path
):
    double.add_table(str(SCORES), ("order_id", "INTEGER"))
    with pytest.raises(UsageError, match="allow new columns"):
        claim_of(tmp_path, NEW).take()
    assert columns(double) == ["order_id"]
    claim_of(tmp_path, replace(NEW, allow=True)).take()
    assert columns(double) == ["order_id", "score"]


def test_what_another_run_has_just_made_must_be_a_table(double, tmp_path):
    double.add_table(str(SCORES), ("order_id", "INTEGER"), ("score", "FLOAT"), type="VIEW")
    with pytest.raises(UsageError, match="it is a view; expected a table"):
        claim_of(tmp_path, NEW).take()


def test_a_table_that_was_made_although_the_answer_was_lost_is_taken(double, tmp_path):
    double.fail("POST", "tables", None)
    claim_of(tmp_path, NEW).take()
    assert columns(double) == ["order_id", "score"]


def test_a_table_that_another_run_has_just_made_has_its_rows_replaced(double, tmp_path):
    double.add_table(str(SCORES), ("order_id", "INTEGER"), ("score", "FLOAT"))
    claim_of(tmp_path, replace(NEW, number=0)).take()
    assert sorted(double.tables) == ["p-1.ml.scoreline_tmp_r1_0", "p-1.ml.scores"]


def test_a_table_that_comes_and_goes_is_given_up(double, tmp_path):
    double.fail("POST", "tables", 409, reason="duplicate", message="Already Exists")
    with pytest.raises(UsageError, match=r"made and deleted meanwhile\. Start again"):
        claim_of(tmp_path, NEW).take()
