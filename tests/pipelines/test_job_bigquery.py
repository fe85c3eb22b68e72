"""Jobs that read or write tables: what fits together, and what is said of what does not."""

import re
from typing import Any

import pytest

from scoreline.pipelines.errors import UsageError
from scoreline.pipelines.job import Job, make_job
from scoreline.pipelines.job_bigquery import TABLE
from scoreline.transforms.bigquery.names import TableName

TABLE_SOURCE = {"type": "bigquery", "table": "p.sales.orders"}
TABLE_SINK = {"type": "bigquery", "table": "p.ml.scores"}
STREAM = {"type": "pubsub", "subscription": "projects/p/subscriptions/s"}
TOPIC = {"type": "pubsub", "topic": "projects/p/topics/t"}


def job_of(source: Any = TABLE_SOURCE, sinks: Any = (TABLE_SINK,), **more: Any) -> Job:
    return make_job(
        {"name": "n", "source": source, "model": {"uri": "m"}, "sinks": list(sinks), **more}
    )


def refusal(**parts: Any) -> str:
    with pytest.raises(UsageError) as refused:
        job_of(**parts)
    return str(refused.value)


NAMES = [
    "p.d.t",
    "my-project.sales_2026.orders 1",
    "example.com:p1.d.t",
    "p.d.größe",
    "p.d",
    "p.d-d.t",
    "P.d.t",
    "p.d.t$20260101",
    "p.d.t*",
    "p-.d.t",
    "p.d.t`",
    "bq://p.d.t",
    ".d.t",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_job_takes_the_names_that_bigquery_takes(name: str) -> None:
    try:
        TableName.parse(name)
        is_name = not name.startswith("bq:")  # that is how a command line names it
    except ValueError:
        is_name = False
    assert bool(re.fullmatch(TABLE, name)) == is_name
    if is_name:
        assert job_of({"type": "bigquery", "table": name}).source.table == name
    else:
        assert refusal(source={"type": "bigquery", "table": name}) == (
            f"source.table: expected PROJECT.DATASET.TABLE, got {name!r}"
        )


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ({}, "source: expected either table or query, got neither"),
        (TABLE_SOURCE | {"query": "SELECT 1"}, "source: expected either table or query, got both"),
        (
            {"query": "SELECT 1", "row_filter": "x > 1"},
            "source: row_filter is for a table; a query",
        ),
        (TABLE_SOURCE | {"temp_dataset": "p.d"}, "source: temp_dataset is for a query"),
        (
            TABLE_SOURCE | {"columns": "x", "colums": "y"},
            "source.colums: unknown key; did you mean",
        ),
    ],
)
def test_a_source_is_a_table_or_a_query(source: dict[str, Any], said: str) -> None:
    assert refusal(source={"type": "bigquery", **source}).startswith(said)


def test_dead_letters_go_to_a_table_beside_the_first_one() -> None:
    for dead_letters in ({}, None, {"type": "bigquery"}, {"path": None, "max_ratio": 0.5}):
        more = {} if dead_letters is None else {"dead_letters": dead_letters}
        job = job_of(**more)
        assert job.dead_letters.type == "bigquery"
        assert job.dead_letters.uri == "bq://p.ml.scores_dead_letters"
    assert job.dead_letters.max_ratio == 0.5
    stream = job_of(STREAM, [TOPIC, TABLE_SINK])
    assert stream.dead_letters.uri == "bq://p.ml.scores_dead_letters"
    assert job_of(sinks=[{"path": "out"}, TABLE_SINK]).dead_letters.type == "files"
    assert job_of(dead_letters={"path": "dead"}).dead_letters.path == "dead"
    named = {"type": "bigquery", "table": "p.ml.rejected"}
    assert job_of(sinks=[{"path": "out"}], dead_letters=named).dead_letters.uri == (
        "bq://p.ml.rejected"
    )


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        (
            {"sinks": [{"type": "bigquery", "table": "p.sales.orders"}]},
            "the job reads bq://p.sales.orders and writes to it: expected another table",
        ),
        (
            {"dead_letters": {"type": "bigquery", "table": "p.sales.orders"}},
            "the job reads bq://p.sales.orders and writes to it",
        ),
        (
            {"dead_letters": {"type": "bigquery", "table": "p.ml.scores"}},
            "dead_letters: the predictions go to bq://p.ml.scores",
        ),
        ({"sinks": [TABLE_SINK, TABLE_SINK]}, "sinks: expected a path of its own for each sink"),
        (
            {"sinks": [{"path": "out"}], "dead_letters": {"type": "bigquery"}},
            "dead_letters.table: missing; the first sink is no table to name one",
        ),
        (
            {"dead_letters": {"type": "files"}},
            "dead_letters: a table has no folder for rejected rows: give --dead-letters FOLDER",
        ),
        (
            {"source": STREAM, "sinks": [TABLE_SINK | {"write": "truncate"}]},
            "sinks.0.write: a stream adds to what is there; expected append, got truncate",
        ),
        ({"sinks": [TOPIC]}, "sinks.0: a job that reads stored data writes files or tables"),
        (
            {"sinks": [TABLE_SINK | {"write": "overwrite"}]},
            "sinks.0.write: expected 'append' or 'truncate', got 'overwrite'",
        ),
        (
            {"sinks": [TABLE_SINK | {"create": {"cluster_by": list("abcde")}}]},
            "sinks.0.create.cluster_by: expected a list of at most 4",
        ),
        (
            {"sinks": [TABLE_SINK | {"create": {"expiration_days": 0}}]},
            "sinks.0.create.expiration_days: expected more than 0.0, got 0",
        ),
        (
            {"sinks": [TABLE_SINK | {"create": {"expiration_days": 1e12}}]},
            "sinks.0.create.expiration_days: expected at most 365000.0, got 1000000000000.0",
        ),
    ],
)
def test_what_does_not_go_together(parts: dict[str, Any], said: str) -> None:
    assert refusal(**parts).startswith(said)


def test_what_is_wrong_within_a_sink_does_not_make_the_list_of_sinks_empty() -> None:
    assert "\n" not in refusal(sinks=[TABLE_SINK | {"create": {"cluster_by": list("abcde")}}])


def test_the_home_of_a_run_is_beside_the_first_sink_that_is_no_topic() -> None:
    assert job_of().home == job_of().sinks[0]
    assert job_of(STREAM, [TOPIC, TABLE_SINK]).home.path == "bq://p.ml.scores"
    assert job_of(STREAM, [TOPIC, {"path": "out"}, TABLE_SINK]).home.path == "out"
    places = {"report": {"path": "r"}, "dead_letters": {"path": "d"}}
    assert job_of(STREAM, [TOPIC], **places).home is None


def test_what_only_follows_from_a_wrong_name_is_not_said() -> None:
    assert refusal(sinks=[{"type": "bigquery", "table": "x.y"}]) == (
        "sinks.0.table: expected PROJECT.DATASET.TABLE, got 'x.y'"
    )
    assert refusal(sinks=[]) == "sinks: expected a list that is not empty, got a list"
