"""What a run makes in BigQuery when it starts, and what it removes, on a double of the service."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
import yaml
from read_double import Break
from running import files_below, numbers
from write_double import eventually

from scoreline.pipelines.errors import UsageError
from scoreline.pipelines.job_bigquery import CreateSpec
from scoreline.pipelines.tables import TableClaim, Target
from scoreline.transforms.bigquery.names import TableName, temporary_table
from scoreline.transforms.commit import INTENT

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


@pytest.mark.parametrize("is_final", [False, True])
def test_what_a_run_made_for_itself_is_removed(double, tmp_path, is_final):
    result = temporary_table(TableName("p-1", "ml", "query"), "r1", 999_999)
    staging = temporary_table(SCORES, "r1", 0)
    for table in (result, staging, SCORES):
        double.add_table(str(table), ("order_id", "INTEGER"))
    if is_final:
        (tmp_path / INTENT).write_text("{}")
    claim = TableClaim([replace(NEW, number=0)], "r1", str(tmp_path), result)
    said = claim.undo()
    left = {str(SCORES), str(staging)} if is_final else {str(SCORES)}
    assert set(double.tables) == left
    assert said == claim.undo()
    assert set(double.tables) == left


def test_a_table_that_may_not_be_removed_is_left_to_expire(double, tmp_path):
    result = temporary_table(SCORES, "r1", 999_999)
    double.add_table(str(result), ("order_id", "INTEGER"))
    double.fail("DELETE", "tables", 403, reason="accessDenied", message="no")
    claim = TableClaim([], "r1", str(tmp_path), result)
    assert claim.undo() == "its temporary tables are removed."
    assert list(double.tables) == [str(result)]


def test_a_signal_removes_the_table_of_a_query(double, read_double, workdir, classifier_file):
    rows = numbers(50)
    types = {"double": "FLOAT", "int64": "INTEGER"}
    fields = [{"name": field.name, "type": types[str(field.type)]} for field in rows.schema]
    query = "SELECT * FROM ml.orders"
    double.plans[query] = {"query": {"statementType": "SELECT", "schema": {"fields": fields}}}
    read_double.before_session = lambda: read_double.add(
        read_double.sessions[-1].read_session.table, rows
    )
    read_double.break_stream(0, Break(1, None))
    job = {
        "name": "orders",
        "source": {"type": "bigquery", "query": query, "temp_dataset": "p-1.ml"},
        "model": {"uri": str(classifier_file), "trust": {"allow_pickle": True}},
        "sinks": [{"type": "files", "path": "out"}],
    }
    Path("job.yaml").write_text(yaml.safe_dump(job))
    command = [sys.executable, "-m", "scoreline", "run", "job.yaml"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ) as process:
        is_reading = eventually(lambda: bool(read_double.reads), 60)
        (made,) = double.tables
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=60)[1]
    assert is_reading
    assert made.startswith("p-1.ml.scoreline_tmp_")
    assert process.returncode == 143, said
    assert "nothing was made final" in said
    assert not double.tables
    assert not files_below(Path("out"))
