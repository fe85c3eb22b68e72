"""Where the things of a job go."""

from typing import Any

import pytest

from scoreline.pipelines.errors import UsageError
from scoreline.pipelines.job import Job, make_job
from scoreline.pipelines.job_paths import with_absolute_paths
from scoreline.pipelines.places import (
    check_report,
    dead_letters_output,
    dead_letters_table,
    layouts_of,
    places_of,
)
from scoreline.pipelines.runner_profiles import RunnerProfile

TABLE = {"type": "bigquery", "table": "p.ml.scores"}
STREAM = {"type": "pubsub", "subscription": "projects/p/subscriptions/s"}
TOPIC = {"type": "pubsub", "topic": "projects/p/topics/t"}


def job_of(*sinks: Any, source: Any = None, **more: Any) -> Job:
    source = source or {"path": "in.parquet"}
    return make_job(
        {"name": "n", "source": source, "model": {"uri": "m"}, "sinks": list(sinks), **more}
    )


def test_a_table_has_its_run_folder_beside_it_and_its_dead_letters_in_another() -> None:
    job = job_of(TABLE)
    (layout,) = layouts_of(job)
    assert layout.output == "bq://p.ml.scores"
    assert layout.run_folder("r") == "p.ml.scores.run/r"
    assert layout.own_folder("r") == "p.ml.scores.run/_live_bq_p.ml.scores/r"
    (place,) = places_of(job, (layout,), "r")
    assert (str(place.table), place.staging) == ("p.ml.scores", None)
    assert str(dead_letters_table(job).table) == "p.ml.scores_dead_letters"
    assert dead_letters_output(job, (layout,)) == "bq://p.ml.scores_dead_letters"


def test_a_table_that_is_replaced_is_gathered_in_one_of_the_run() -> None:
    job = job_of({"path": "out"}, TABLE | {"write": "truncate"})
    layouts = layouts_of(job)
    assert [layout.output for layout in layouts] == ["out"]
    files, table = places_of(job, layouts, "20260101T000000Z-0a1b2c")
    assert files is layouts[0]
    assert str(table.staging) == "p.ml.scoreline_tmp_20260101T000000Z_0a1b2c_1"
    assert dead_letters_table(job) is None
    assert dead_letters_output(job, layouts) == "out/_dead_letters"


@pytest.mark.parametrize(
    ("first", "second"),
    [("out", "./out/"), ("out", "out/x"), ("out/x", "out"), ("out", "out/part-00000.parquet")],
)
def test_no_sink_writes_among_the_predictions_of_another(first: str, second: str) -> None:
    with pytest.raises(UsageError, match=r"the predictions of another sink cannot go to .*out"):
        layouts_of(job_of({"path": first}, {"path": second}))
    assert len(layouts_of(job_of({"path": first}, {"path": "out/x/_below"}))) == 2


def test_dead_letters_lie_among_the_predictions_of_no_sink() -> None:
    with pytest.raises(UsageError, match="the dead letters cannot go to b/dead: whoever reads"):
        layouts_of(job_of({"path": "a"}, {"path": "b"}, dead_letters={"path": "b/dead"}))


def test_what_is_named_is_taken() -> None:
    job = job_of(TABLE, {"path": "out"}, dead_letters={"path": "dead"}, report={"path": "runs"})
    home, files = layouts_of(job)
    assert home.run_folder("r") == files.run_folder("r") == "runs/r"
    assert home.dead_letter_path == "dead"
    assert home.existing() == []
    assert files.own_folder("r") == "out/_run/r"


def test_jobs_of_different_tables_do_not_meet_in_one_report_folder() -> None:
    report = {"path": "runs"}
    (one,) = layouts_of(job_of(TABLE, report=report))
    (other,) = layouts_of(job_of(TABLE | {"table": "p.ml.others"}, report=report))
    assert one.run_root == other.run_root
    assert one.own_run_root != other.own_run_root


def test_topics_alone_need_a_folder_for_reports() -> None:
    places = {"report": {"path": "r"}, "dead_letters": {"path": "d"}}
    (layout,) = layouts_of(job_of(TOPIC, source=STREAM, **places))
    assert layout.output == "pubsub://projects/p/topics/t"
    assert layout.run_folder("x") == "r/x"
    assert layout.own_run_root.startswith("r/_live_pubsub_")


def test_workers_elsewhere_get_the_folder_by_its_full_name(tmp_path: Any, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    job = with_absolute_paths(job_of(TABLE))
    assert job.report.path == f"{tmp_path}/p.ml.scores.run"
    assert with_absolute_paths(job_of({"path": "out"})).report.path is None


def test_workers_that_see_nothing_of_this_machine_need_a_named_folder() -> None:
    remote = RunnerProfile("FlinkRunner", cluster_url="http://jobmanager:8081")
    for profile in (remote, RunnerProfile("DataflowRunner")):
        with pytest.raises(UsageError, match=r"run folder would be p\.ml\.scores\.run in"):
            check_report(job_of(TABLE), profile)
        check_report(job_of(TABLE, report={"path": "gs://b/runs"}), profile)
        check_report(job_of({"path": "out"}, TABLE), profile)
    for profile in (RunnerProfile("DirectRunner"), RunnerProfile("FlinkRunner")):
        check_report(job_of(TABLE), profile)
