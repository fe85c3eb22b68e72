"""What a commit does with tables, on doubles of the services: tables and streams that are gone."""

from pathlib import Path

import pyarrow as pa
import pytest
from write_double import write_service

from scoreline.transforms.bigquery.appender import Appender
from scoreline.transforms.bigquery.errors import BigQueryError
from scoreline.transforms.bigquery.names import TableName, temporary_table
from scoreline.transforms.bigquery.write_streams import StreamsLostError, create_stream
from scoreline.transforms.final_tables import make_tables_final, replacement, seal
from scoreline.transforms.receipts import Receipt
from scoreline.transforms.table_place import TablePlace

SCORES = TableName("p-1", "ml", "scores")
DEAD = SCORES.sibling("scores_dead_letters")
STAGING = temporary_table(SCORES, "r1", 0)
REPORT = {"exit_code": 0, "dead_letters_output": DEAD.uri}


@pytest.fixture
def double(monkeypatch):
    with write_service(monkeypatch) as double:
        yield double


@pytest.fixture
def tables(rest_double):
    """What the REST interface says of tables."""
    rest_double.add_dataset("p-1.ml")
    for table in (SCORES, STAGING):
        rest_double.add_table(str(table), ("x", "INTEGER"))
    return rest_double


def filled(table, *numbers):
    """A sealed stream with these rows: its receipt."""
    stream = create_stream(table)
    appender = Appender(table, stream, offsets=True, retry_secs=5, on_accepted=lambda rows: None)
    rows = pa.record_batch({"x": list(numbers)})
    appender.append(rows, rows)
    appender.flush()
    appender.close()
    receipt = Receipt("predicted", 0, len(numbers), stream)
    seal([receipt])
    return receipt


def streams(table, *numbers):
    return TablePlace(table).streams([filled(table, *numbers)])


@pytest.fixture
def intent(double):
    both = [streams(SCORES, 1, 2, 3), streams(DEAD, 9)]
    return {"run_id": "r1", "report": REPORT, "streams": both, "replaces": []}


@pytest.fixture
def replacing(double, tables):
    """The intent of a run that replaces the rows of a table."""
    gathered = streams(STAGING, 1, 2, 3)
    replaces = [replacement(TablePlace(SCORES, STAGING))]
    return {"run_id": "r1", "report": REPORT, "streams": [gathered], "replaces": replaces}


def read(double, table):
    found = double.table(table.path)
    return found["x"].to_pylist() if found.num_columns else []


def forget(double, entry):
    """Has the service know nothing of streams any more; their rows are where they were."""
    for name in double.streams.keys() & set(entry["names"]):
        double.streams[f"{name} of old"] = double.streams.pop(name)


def without_dead_letters(double, intent):
    double.tables = {SCORES.path}


def without_their_streams(double, intent):
    forget(double, intent["streams"][1])


@pytest.mark.parametrize("lose", [without_dead_letters, without_their_streams])
def test_no_row_is_added_twice_where_only_the_second_table_has_lost_its_rows(
    double, intent, tmp_path, lose
):
    folder = str(tmp_path)
    lose(double, intent)
    for _ in range(2):
        with pytest.raises(StreamsLostError, match=r"its rows are in p-1\.ml\.scores already"):
            make_tables_final(intent, folder)
        forget(double, intent["streams"][0])  # as days later
    assert read(double, SCORES) == [1, 2, 3]
    Path(folder, "committed-1.json").touch()
    make_tables_final(intent, folder)
    assert read(double, SCORES) == [1, 2, 3]


def test_what_is_noted_is_not_asked_for_when_its_streams_are_forgotten(double, intent, tmp_path):
    make_tables_final(intent, str(tmp_path))
    asked = len(double.commits)
    for entry in intent["streams"]:
        forget(double, entry)
    make_tables_final(intent, str(tmp_path))
    assert len(double.commits) == asked == 2
    assert (read(double, SCORES), read(double, DEAD)) == ([1, 2, 3], [9])


def test_what_was_committed_and_not_noted_before_it_was_forgotten_has_to_be_looked_at(
    double, intent, tmp_path
):
    make_tables_final(intent, str(tmp_path))
    Path(tmp_path, "committed-0.json").unlink()
    Path(tmp_path, "committed-1.json").unlink()
    forget(double, intent["streams"][0])
    with pytest.raises(StreamsLostError, match="or it added them before and has forgotten that"):
        make_tables_final(intent, str(tmp_path))


def test_rows_are_replaced_when_the_streams_of_those_gathered_are_forgotten(
    double, tables, replacing, tmp_path
):
    tables.fail("POST", "jobs", 403, reason="accessDenied", message="Access Denied")
    with pytest.raises(BigQueryError, match=r"cannot replace p-1\.ml\.scores: permission denied"):
        make_tables_final(replacing, str(tmp_path))
    forget(double, replacing["streams"][0])
    make_tables_final(replacing, str(tmp_path))
    assert list(tables.executed) == [f"{STAGING.table}_replaces"]
    assert list(tables.tables) == [str(SCORES)]


def test_a_table_that_was_to_be_replaced_and_is_gone_is_said_with_what_to_do(
    double, tables, replacing, tmp_path
):
    gone = tables.tables.pop(str(SCORES))
    for _ in range(2):
        with pytest.raises(StreamsLostError, match=f"Or remove {tmp_path}, and the same command"):
            make_tables_final(replacing, str(tmp_path))
    tables.tables[str(SCORES)] = gone
    make_tables_final(replacing, str(tmp_path))
    assert len(tables.executed) == 1


@pytest.mark.parametrize("is_old", [False, True])
def test_a_table_that_was_replaced_by_a_run_that_was_charged_elsewhere_is_left_alone(
    double, tables, replacing, tmp_path, monkeypatch, is_old
):
    monkeypatch.setenv("GOOGLE_CLOUD_QUOTA_PROJECT", "payer")
    replacing["replaces"] = [replacement(TablePlace(SCORES, STAGING))]
    if is_old:
        del replacing["replaces"][0]["project"], replacing["replaces"][0]["location"]
    make_tables_final(replacing, str(tmp_path))
    Path(tmp_path, "replaced-0.json").unlink()
    if not is_old:  # an older intent does not say where its job ran
        monkeypatch.setenv("GOOGLE_CLOUD_QUOTA_PROJECT", "another")
    make_tables_final(replacing, str(tmp_path))
    assert tables.projects == ["payer"]
