"""The flags of `score` that are about tables: the job that they stand for, and what is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from running import Ended

Score = Callable[..., Ended]

IN, OUT = "bq://p.sales.orders", "bq://p.ml.scores"
TOPIC = "pubsub://projects/p/topics/t"


def printed(ended: Ended) -> dict[str, Any]:
    assert ended.code == 0, ended.err
    job: dict[str, Any] = yaml.safe_load(ended.out)
    return job


def test_tables_on_both_sides(score: Score, workdir: Path) -> None:
    flags = ["--keep", "order_id", "--row-filter", "total > 0", "--columns", "order_id,a,b,c"]
    flags += ["--rename", "a=A", "--limit", "5", "--write", "truncate", "--row-id"]
    flags += ["--partition-by", "day", "--cluster-by", "shop,plan", "--expiration-days", "90"]
    job = printed(score(*flags, "--allow-new-columns", "--print-job", input=IN, output=OUT))
    assert job["source"] == {
        "type": "bigquery",
        "table": "p.sales.orders",
        "query": None,
        "columns": ["order_id", "a", "b", "c"],
        "row_filter": "total > 0",
        "temp_dataset": None,
        "rename": {"a": "A"},
        "limit": 5,
    }
    assert job["sinks"] == [
        {
            "type": "bigquery",
            "table": "p.ml.scores",
            "keep": ["order_id"],
            "row_id": True,
            "write": "truncate",
            "create": {
                "partition_by": "day",
                "cluster_by": ["shop", "plan"],
                "expiration_days": 90,
            },
            "allow_new_columns": True,
        }
    ]
    assert job["dead_letters"] == {
        "type": "bigquery",
        "table": "p.ml.scores_dead_letters",
        "max_ratio": 0.05,
    }


def test_what_is_not_said_is_the_jobs_default(score: Score, workdir: Path) -> None:
    job = printed(score("--print-job", input="in.parquet", output=OUT))
    (sink,) = job["sinks"]
    assert (sink["write"], sink["allow_new_columns"]) == ("append", False)
    assert sink["create"] == {"partition_by": None, "cluster_by": [], "expiration_days": None}
    job = printed(score("--print-job", "--dead-letters", "bq://p.ml.dead", input=IN))
    assert job["sinks"][0]["path"] == "out"
    assert job["dead_letters"]["table"] == "p.ml.dead"


@pytest.mark.parametrize(
    ("places", "flags", "said"),
    [
        ({"input": IN}, ["--types", "a=int64"], "--types: --input names a table; --types is for"),
        ({"input": IN}, ["--input-format", "csv"], "--input-format: a table has columns"),
        ({"input": [IN, "x"]}, [], "--input: a table is the only input; score the others apart"),
        ({}, ["--row-filter", "x"], "--row-filter: --input names files; --row-filter is for what"),
        ({}, ["--write", "truncate"], "--write: --output names no table; --write is for what"),
        ({}, ["--partition-by", "x"], "--partition-by: --output names no table"),
        ({}, ["--allow-new-columns"], "--allow-new-columns: --output names no table"),
        ({"output": TOPIC}, ["--cluster-by", "x"], "--cluster-by: --output names no table"),
        ({"output": OUT}, ["--output-format", "csv"], "--output-format: a table has columns"),
        ({"output": OUT}, ["--overwrite"], "replaced with --write truncate (sinks.N.write)"),
        ({"output": OUT}, ["--write", "replace"], "argument --write: invalid choice: 'replace'"),
        ({"output": OUT}, ["--expiration-days", "0"], "expected days, more than 0, got '0'"),
        ({"output": "bq://p.scores"}, [], "table: expected PROJECT.DATASET.TABLE, got 'p.scores'"),
        ({"input": "bq://sales.orders"}, [], "source.table: expected PROJECT.DATASET.TABLE, got"),
    ],
)
def test_what_does_not_go_with_a_table(
    score: Score, workdir: Path, places: dict[str, Any], flags: list[str], said: str
) -> None:
    ended = score(*flags, **places)
    assert ended.code == 2
    assert said in ended.err
