"""Whole jobs from and to tables of the emulator, through the command line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import yaml
from bq_emulator import BigQueryEmulator
from google.cloud.bigquery import SchemaField
from running import NUMBERS, Ended, files_below, numbers, write
from sklearn.linear_model import LogisticRegression

from scoreline.transforms import commit, decode_payload, final_tables
from scoreline.transforms.bigquery.write_streams import StreamsLostError

Score = Callable[..., Ended]
Scoreline = Callable[..., Ended]

ROWS = 3_000
CLOSED = [
    f"RUN/{name}"
    for name in ("_SUCCESS", "commit.json", "committed-0.json", "job.yaml", "report.json")
]


@pytest.fixture
def dataset(bq: BigQueryEmulator) -> str:
    return f"{bq.project}.{bq.dataset()}"


def predictions(model: LogisticRegression, table: pa.Table) -> list[str]:
    return list(model.predict(table.select(NUMBERS).to_pandas()))


def by_id(table: pa.Table) -> pa.Table:
    return table.sort_by("id")


def with_nulls(table: pa.Table, *rows: int) -> pa.Table:
    """The same without a value in column a of some rows, which the model refuses."""
    values = table["a"].to_pylist()
    for row in rows:
        values[row] = None
    return table.set_column(0, "a", pa.array(values))


def report_of(run_root: str) -> dict[str, Any]:
    (path,) = Path(run_root).glob("*/report.json")
    report: dict[str, Any] = json.loads(path.read_text())
    return report


def run_of(table: str) -> str:
    """The id of the only run into a table."""
    (folder,) = Path(f"{table}.run").glob("2*")
    return folder.name


def test_from_a_table_to_a_table(
    bq: BigQueryEmulator, dataset: str, score: Score, classifier: LogisticRegression
) -> None:
    rows = numbers(ROWS)
    bq.load(f"{dataset}.orders", rows)
    table = f"{dataset}.scores"

    ended = score("--keep", "id", input=f"bq://{dataset}.orders", output=f"bq://{table}")

    assert ended.code == 0, ended.err
    scored = by_id(bq.rows(table))
    assert scored.column_names == ["id", "prediction", "model_version"]
    assert scored["id"].to_pylist() == list(range(ROWS))
    assert scored["prediction"].to_pylist() == predictions(classifier, rows)
    assert bq.rows(f"{table}_dead_letters").num_rows == 0
    assert files_below(Path(f"{table}.run")) == CLOSED
    report = report_of(f"{table}.run")
    assert report["rows"]["predicted"] == report["rows"]["read"] == ROWS
    assert report["output"] == f"bq://{table}"
    assert f"predictions   bq://{table}" in ended.err


def test_from_files_to_a_table_and_its_dead_letters(
    bq: BigQueryEmulator, dataset: str, score: Score, workdir: Path, classifier: LogisticRegression
) -> None:
    rows = with_nulls(numbers(ROWS), 5, 7)
    write(workdir / "in.parquet", rows, row_group_size=ROWS // 3)
    table = f"{dataset}.scores"

    ended = score("--row-id", "--direct_num_workers=2", output=f"bq://{table}")

    assert ended.code == 0, ended.err
    good = rows.filter(pc.is_valid(rows["a"]))
    scored = by_id(bq.rows(table))
    assert scored["id"].to_pylist() == good["id"].to_pylist()
    assert scored["prediction"].to_pylist() == predictions(classifier, good)
    assert scored["row_id"][0].as_py() == "in.parquet#0"
    dead = bq.rows(f"{table}_dead_letters").sort_by("row_id").to_pylist()
    assert [letter["row_id"] for letter in dead] == ["in.parquet#5", "in.parquet#7"]
    assert {letter["error_code"] for letter in dead} == {"null_value"}
    assert decode_payload(dead[0]["payload"]).to_pylist()[0]["id"] == 5
    assert dead[0]["run_id"] == report_of(f"{table}.run")["run_id"]
    assert f"FROM `{table}_dead_letters` WHERE run_id = " in ended.err


def test_the_same_where_workers_are_not_this_process(
    bq: BigQueryEmulator, dataset: str, score: Score, classifier: LogisticRegression
) -> None:
    rows = numbers(ROWS)
    bq.load(f"{dataset}.orders", rows)
    table = f"{dataset}.scores"
    engine = ["--runner=PortableRunner", "--job_endpoint=embed"]

    ended = score("--keep", "id", *engine, input=f"bq://{dataset}.orders", output=f"bq://{table}")

    assert ended.code == 0, ended.err
    scored = by_id(bq.rows(table))
    assert scored["id"].to_pylist() == list(range(ROWS))
    assert scored["prediction"].to_pylist() == predictions(classifier, rows)
    assert report_of(f"{table}.run")["runner"] == "PortableRunner"


def test_from_a_table_to_files_only_what_is_wanted(
    bq: BigQueryEmulator,
    dataset: str,
    scoreline: Scoreline,
    workdir: Path,
    classifier_file: Path,
    classifier: LogisticRegression,
) -> None:
    rows = numbers(ROWS).append_column("junk", pa.array(["x"] * ROWS))
    bq.load(f"{dataset}.orders", rows.rename_columns(["A", "b", "c", "id", "junk"]))
    job = {
        "name": "n",
        "source": {
            "type": "bigquery",
            "table": f"{dataset}.orders",
            "row_filter": "id < 1000",
            "rename": {"A": "a"},
        },
        "model": {"uri": str(classifier_file), "trust": {"allow_pickle": True}},
        "sinks": [{"path": "out", "keep": ["id"], "row_id": True}],
    }
    Path("job.yaml").write_text(yaml.safe_dump(job))

    ended = scoreline("run", "job.yaml")

    assert ended.code == 0, ended.err
    scored = by_id(pq.read_table("out"))
    assert scored["id"].to_pylist() == list(range(1000))
    assert scored["prediction"].to_pylist() == predictions(classifier, rows.slice(0, 1000))
    assert scored["row_id"][0].as_py().startswith(f"bq://{dataset}.orders@")
    assert len(set(scored["row_id"].to_pylist())) == 1000
    ended = scoreline(
        "run", "job.yaml", "--set", "source.limit=10", "--set", "sinks.0.path=few.csv"
    )
    assert ended.code == 0, ended.err
    assert Path("few.csv").read_text().count("\n") == 11


def test_a_second_run_appends_and_one_that_truncates_replaces(
    bq: BigQueryEmulator, dataset: str, score: Score, workdir: Path
) -> None:
    table = f"{dataset}.scores"
    for first, flags in ((0, []), (100, []), (200, ["--write", "truncate"])):
        write(workdir / "in.parquet", numbers(300).slice(first, 100))
        ended = score("--keep", "id", *flags, output=f"bq://{table}")
        assert ended.code == 0, ended.err
        ids = sorted(bq.rows(table)["id"].to_pylist())
        assert ids == list(range(200, 300) if flags else range(first + 100))
    assert sorted(bq.tables(dataset.split(".")[1])) == ["scores", "scores_dead_letters"]


def test_dead_letters_in_files_beside_a_table_are_replaced_only_when_asked(
    bq: BigQueryEmulator, dataset: str, score: Score, workdir: Path
) -> None:
    write(workdir / "in.parquet", with_nulls(numbers(40), 1))
    table = f"{dataset}.scores"
    flags = ["--keep", "id", "--dead-letters", "dead", "--report", "runs"]
    assert score(*flags, output=f"bq://{table}").code == 0
    refused = score(*flags, output=f"bq://{table}")
    assert refused.code == 2
    assert "--dead-letters dead exists: dead/part-00000-conform.parquet" in refused.err
    ended = score(*flags, "--overwrite", output=f"bq://{table}")
    assert ended.code == 0, ended.err
    assert bq.rows(table).num_rows == 2 * 39
    assert pq.read_table("dead").num_rows == 1
    assert bq.tables(dataset.split(".")[1]) == ["scores"]


def test_a_table_is_made_as_it_is_asked_for(
    bq: BigQueryEmulator, dataset: str, score: Score, workdir: Path
) -> None:
    days = pa.array(np.arange(10) * 86_400_000_000, pa.timestamp("us", "UTC"))
    write(workdir / "in.parquet", numbers(10).append_column("at", days))
    flags = ["--keep", "id,at", "--partition-by", "at", "--cluster-by", "id"]
    ended = score(*flags, output=f"bq://{dataset}.scores")
    assert ended.code == 0, ended.err
    made = bq.client.get_table(f"{dataset}.scores", timeout=30)
    assert made.time_partitioning.field == "at"
    assert made.clustering_fields == ["id"]
    assert [field.field_type for field in made.schema] == [
        *("INTEGER", "TIMESTAMP", "STRING", "STRING")
    ]
    ended = score("--keep", "id", "--partition-by", "id", output=f"bq://{dataset}.others")
    assert ended.code == 2
    assert "cannot be partitioned by 'id'" in ended.err
    assert "others" not in bq.tables(dataset.split(".")[1])


def test_a_filter_that_is_wrong_is_refused_before_a_table_is_made(
    bq: BigQueryEmulator, dataset: str, score: Score
) -> None:
    bq.load(f"{dataset}.orders", numbers(10))
    for flags in ([], ["--dry-run"]):
        flags += ["--row-filter", "nobody > 1"]
        ended = score(*flags, input=f"bq://{dataset}.orders", output=f"bq://{dataset}.scores")
        assert ended.code == 2
        assert "--row-filter 'nobody > 1': cannot query the input: it was refused." in ended.err
    assert bq.tables(dataset.split(".")[1]) == ["orders"]


def test_dead_letters_that_do_not_fit_their_table_need_another_one(
    bq: BigQueryEmulator, dataset: str, score: Score, workdir: Path
) -> None:
    write(workdir / "in.parquet", numbers(10))
    bq.load(f"{dataset}.scores_dead_letters", pa.table({"x": [1]}))
    ended = score(output=f"bq://{dataset}.scores")
    assert ended.code == 2
    assert f"--dead-letters bq://{dataset}.scores_dead_letters: the output does not" in ended.err
    assert ended.err.endswith("What to do: name a new table, or one that has these columns.\n")


@pytest.mark.parametrize("place", ["input", "output"])
def test_a_job_is_not_divided_between_an_emulator_and_the_service(
    bq: BigQueryEmulator,
    dataset: str,
    score: Score,
    workdir: Path,
    place: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write(workdir / "in.parquet", numbers(10))
    monkeypatch.delenv("BIGQUERY_STORAGE_EMULATOR_HOST")
    ended = score(**{place: f"bq://{dataset}.orders"})
    assert ended.code == 2
    assert f"--{place} bq://{dataset}.orders: BIGQUERY_EMULATOR_HOST names an emul" in ended.err


def test_a_table_that_differs_is_refused_and_a_new_column_only_added_when_asked(
    bq: BigQueryEmulator, dataset: str, score: Score, workdir: Path
) -> None:
    write(workdir / "in.parquet", numbers(10))
    table = f"{dataset}.scores"
    assert score("--keep", "id", output=f"bq://{table}").code == 0

    refused = score("--keep", "id,a", output=f"bq://{table}")
    assert refused.code == 2
    assert f"--output bq://{table}: the output does not fit the table {table}" in refused.err
    assert "--allow-new-columns" in refused.err
    assert bq.rows(table).num_rows == 10

    bq.widen(table, "a FLOAT64")  # what is stored: the emulator changes what it says, no more
    ended = score("--keep", "id,a", "--allow-new-columns", output=f"bq://{table}")
    assert ended.code == 0, ended.err
    assert bq.rows(table)["a"].null_count == 10
    assert bq.rows(table).num_rows == 20

    write(workdir / "in.parquet", numbers(10).set_column(3, "id", pa.array(["x"] * 10)))
    refused = score("--keep", "id,a", "--allow-new-columns", output=f"bq://{table}")
    assert refused.code == 2
    assert "<--" in refused.err


def test_files_and_a_table_in_one_job(
    bq: BigQueryEmulator, dataset: str, scoreline: Scoreline, workdir: Path, classifier_file: Path
) -> None:
    write(workdir / "in.parquet", with_nulls(numbers(50), 3))
    job = {
        "name": "n",
        "source": {"path": "in.parquet"},
        "model": {"uri": str(classifier_file), "trust": {"allow_pickle": True}},
        "sinks": [
            {"path": "out", "keep": ["id"]},
            {"type": "bigquery", "table": f"{dataset}.scores", "keep": ["id"]},
            {"type": "bigquery", "table": f"{dataset}.more", "write": "truncate", "row_id": True},
        ],
        "dead_letters": {"max_ratio": 0.1},
    }
    Path("job.yaml").write_text(yaml.safe_dump(job))
    found = json.loads(scoreline("check", "job.yaml", "--output-json").out)
    assert [output["path"] for output in found["outputs"]] == [
        *("out", f"bq://{dataset}.scores", f"bq://{dataset}.more")
    ]
    assert found["outputs"][2]["table"] == "is made"

    ended = scoreline("run", "job.yaml")

    assert ended.code == 0, ended.err
    assert pq.read_table("out").num_rows == 49
    assert bq.rows(f"{dataset}.scores").num_rows == bq.rows(f"{dataset}.more").num_rows == 49
    assert pq.read_table("out/_dead_letters").num_rows == 1
    assert sorted(bq.tables(dataset.split(".")[1])) == ["more", "scores"]


def test_rows_that_the_table_cannot_hold_are_dead_letters_and_the_rest_is_written(
    bq: BigQueryEmulator, dataset: str, score: Score, workdir: Path
) -> None:
    instants = np.arange(100) * 1_000
    instants[[17, 60]] += 1  # a nanosecond, which BigQuery would drop
    at = pa.array(instants, pa.timestamp("ns", "UTC"))
    write(workdir / "in.parquet", numbers(100).append_column("at", at))
    table = f"{dataset}.scores"

    ended = score("--keep", "id,at", "--row-id", output=f"bq://{table}")

    assert ended.code == 0, ended.err
    assert bq.rows(table).num_rows == 98
    dead = bq.rows(f"{table}_dead_letters").sort_by("row_id").to_pylist()
    assert [letter["row_id"] for letter in dead] == ["in.parquet#17", "in.parquet#60"]
    assert {letter["stage"] for letter in dead} == {"write"}
    assert report_of(f"{table}.run")["rows"]["dead_lettered"] == 2


def test_what_a_check_says_of_tables(
    bq: BigQueryEmulator, dataset: str, score: Score, workdir: Path
) -> None:
    bq.load(f"{dataset}.orders", numbers(20))
    table = f"{dataset}.scores"
    places = {"input": f"bq://{dataset}.orders", "output": f"bq://{table}"}
    ended = score("--dry-run", "--keep", "id", **places)
    assert ended.code == 0, ended.err
    lines = ended.err.splitlines()
    assert lines[0].startswith(f"input      bq://{dataset}.orders, 20 rows, ")
    assert f"output     bq://{table} (the table is made, rows are added)" in lines
    assert f"rejected   bq://{table}_dead_letters (at most 5.00%)" in lines
    assert f"reports    {table}.run" in lines
    assert lines[-1] == "no row was read, and nothing was written: the job can start."
    assert bq.tables(dataset.split(".")[1]) == ["orders"]
    assert not list(workdir.iterdir())


@pytest.mark.parametrize(
    ("input_", "output", "said"),
    [
        ("nothing", "scores", "there is no table"),
        ("orders", "elsewhere", "--output bq://"),
    ],
)
def test_a_table_or_a_dataset_that_is_not_there_is_refused_before_the_start(
    bq: BigQueryEmulator,
    dataset: str,
    score: Score,
    workdir: Path,
    input_: str,
    output: str,
    said: str,
) -> None:
    bq.load(f"{dataset}.orders", numbers(5))
    place = f"bq://{bq.project}.no_such_dataset.t" if output == "elsewhere" else f"bq://{dataset}.t"
    ended = score(input=f"bq://{dataset}.{input_}", output=place)
    assert ended.code == 2, ended.err
    assert said in ended.err
    assert not list(workdir.iterdir())


def test_a_query_is_read_from_a_table_that_is_gone_afterwards(
    bq: BigQueryEmulator, dataset: str, scoreline: Scoreline, workdir: Path, classifier_file: Path
) -> None:
    bq.load(f"{dataset}.orders", numbers(20))
    job = {
        "name": "n",
        "source": {
            "type": "bigquery",
            "query": f"SELECT a, b, c, id * 2 AS twice FROM `{dataset}.orders` WHERE id >= 10",
            "temp_dataset": dataset,
        },
        "model": {"uri": str(classifier_file), "trust": {"allow_pickle": True}},
        "sinks": [{"path": "out", "keep": ["twice"]}],
    }
    Path("job.yaml").write_text(yaml.safe_dump(job))
    ended = scoreline("run", "job.yaml")
    assert ended.code == 0, ended.err
    assert sorted(pq.read_table("out")["twice"].to_pylist()) == list(range(20, 40, 2))
    assert bq.tables(dataset.split(".")[1]) == ["orders"]


def test_a_run_whose_table_is_deleted_before_it_commits_fails_and_starts_anew(
    bq: BigQueryEmulator,
    dataset: str,
    score: Score,
    workdir: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write(workdir / "in.parquet", with_nulls(numbers(40), 1))
    table = f"{dataset}.scores"
    seal = commit.seal

    def delete_first(parts: Any) -> None:
        bq.client.delete_table(table, timeout=30)
        seal(parts)

    with monkeypatch.context() as patch:
        patch.setattr(commit, "seal", delete_first)
        ended = score("--keep", "id", output=f"bq://{table}")
    assert ended.code == 1, ended.err
    assert "nothing was made final; the same command starts anew" in ended.err.lower()
    assert bq.rows(f"{table}_dead_letters").num_rows == 0

    ended = score("--keep", "id", output=f"bq://{table}")
    assert ended.code == 0, ended.err
    assert bq.rows(table).num_rows == 39
    assert bq.rows(f"{table}_dead_letters").num_rows == 1


def test_a_run_whose_streams_are_lost_while_it_commits_says_what_to_do(
    bq: BigQueryEmulator,
    dataset: str,
    score: Score,
    workdir: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The emulator notes a commit to a table that is gone as done: so the refusal is made up."""
    write(workdir / "in.parquet", numbers(40))
    table = f"{dataset}.scores"

    def lost(name: Any, streams: Any) -> None:
        raise StreamsLostError(f"{name}: its streams are gone")

    with monkeypatch.context() as patch:
        patch.setattr(final_tables, "commit_streams", lost)
        for _ in range(2):
            ended = score("--keep", "id", output=f"bq://{table}")
            assert ended.code == 1, ended.err
            assert f"BigQuery has lost the 40 rows of run {run_of(table)} for {table}" in ended.err
            assert "command again" not in ended.err
            assert "Nothing was started" not in ended.err
    assert ended.err.rstrip().endswith(
        "cannot be completed as it is, and no other one was started."
    )
    (folder,) = Path(f"{table}.run").glob("2*")
    assert f"{folder}, and the same command starts anew" in ended.err
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()

    ended = score("--keep", "id", output=f"bq://{table}")
    assert ended.code == 0, ended.err
    assert bq.rows(table).num_rows == 40


def test_a_run_that_loses_its_dead_letters_alone_adds_no_row_twice(
    bq: BigQueryEmulator,
    dataset: str,
    score: Score,
    workdir: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As the advice has it: nothing is removed, the missing rows are given up."""
    write(workdir / "in.parquet", with_nulls(numbers(40), 1))
    table = f"{dataset}.scores"
    commit_streams = final_tables.commit_streams

    def lost(name: Any, streams: Any) -> None:
        if str(name) != table or Path(f"{table}.run", run_of(table), "committed-0.json").exists():
            raise StreamsLostError(f"{name}: its streams are gone")
        commit_streams(name, streams)

    monkeypatch.setattr(final_tables, "commit_streams", lost)
    for _ in range(2):
        ended = score("--keep", "id", output=f"bq://{table}")
        assert ended.code == 1, ended.err
        assert f"Do not start the run anew: its rows are in {table} already" in ended.err
        assert f'WHERE run_id = "{run_of(table)}"' in ended.err
        assert "starts anew" not in ended.err
        assert "command again" not in ended.err
    marker = Path(f"{table}.run", run_of(table), "committed-1.json")
    assert f"make an empty file {marker.absolute()}: " in ended.err
    marker.touch()

    ended = score("--keep", "id", output=f"bq://{table}")
    assert ended.code == 0, ended.err
    assert "completed run" in ended.err
    assert bq.rows(table).num_rows == 39
    assert bq.rows(f"{table}_dead_letters").num_rows == 0


def test_a_table_that_is_deleted_before_it_is_replaced_can_be_made_again(
    bq: BigQueryEmulator,
    dataset: str,
    score: Score,
    workdir: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write(workdir / "in.parquet", with_nulls(numbers(40), 1))
    table, flags = f"{dataset}.scores", ("--keep", "id", "--write", "truncate")
    final = commit.make_tables_final

    def delete_first(*args: Any) -> None:
        bq.client.delete_table(table, timeout=30)
        final(*args)

    with monkeypatch.context() as patch:
        patch.setattr(commit, "make_tables_final", delete_first)
        ended = score(*flags, output=f"bq://{table}")
    for again in (ended, score(*flags, output=f"bq://{table}")):
        assert again.code == 1, again.err
        assert f"{table} is not there any more." in again.err
        assert f"make {table} again, with the same columns" in again.err
    schema = [f"{name} {kind}" for name, kind in (("id", "INT64"), ("prediction", "STRING"))]
    bq.query(f"CREATE TABLE `{table}` ({', '.join(schema)}, model_version STRING)")

    ended = score(*flags, output=f"bq://{table}")
    assert ended.code == 0, ended.err
    assert bq.rows(table).num_rows == 39
    assert bq.rows(f"{table}_dead_letters").num_rows == 1
    assert sorted(bq.tables(dataset.split(".")[1])) == ["scores", "scores_dead_letters"]


def test_a_column_that_somebody_adds_to_a_table_while_its_rows_are_replaced(
    bq: BigQueryEmulator,
    dataset: str,
    score: Score,
    workdir: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write(workdir / "in.parquet", numbers(40))
    table, flags = f"{dataset}.scores", ("--keep", "id", "--write", "truncate")
    assert score(*flags, output=f"bq://{table}").code == 0
    final = commit.make_tables_final

    def add_first(*args: Any) -> None:
        bq.widen(table, "note STRING")  # what is stored, and then what the table says of it
        found = bq.client.get_table(table, timeout=30)
        found.schema = [*found.schema, SchemaField("note", "STRING")]
        bq.client.update_table(found, ["schema"], timeout=30)
        final(*args)

    with monkeypatch.context() as patch:
        patch.setattr(commit, "make_tables_final", add_first)
        ended = score(*flags, output=f"bq://{table}")
    assert ended.code == 0, ended.err
    assert bq.rows(table)["note"].null_count == 40
