from pathlib import Path

from scoreline.pipelines.job import make_job
from scoreline.pipelines.job_paths import with_absolute_paths


def test_local_paths_become_absolute_and_others_stay(workdir: Path) -> None:
    Path("m.joblib").touch()
    job = make_job(
        {
            "name": "j",
            "source": {"path": ["in/*.csv", "gs://b/x.csv"]},
            "model": {"uri": "m.joblib"},
            "sinks": [{"path": "out"}, {"path": "s3://b/out"}],
            "dead_letters": {"path": "dead"},
            "report": {"path": "runs"},
        }
    )
    found = with_absolute_paths(job)
    assert found.stored_source.path == (str(workdir / "in/*.csv"), "gs://b/x.csv")
    assert found.model.uri == str(workdir / "m.joblib")
    assert [sink.path for sink in found.sinks] == [str(workdir / "out"), "s3://b/out"]
    assert found.dead_letters.path == str(workdir / "dead")
    assert found.report.path == str(workdir / "runs")
    assert with_absolute_paths(found) == found


def test_what_names_no_file_stays(workdir: Path) -> None:
    topics = {
        "name": "j",
        "source": {"type": "pubsub", "subscription": "projects/project/subscriptions/sub"},
        "model": {"uri": "package.module:function"},
        "sinks": [{"type": "pubsub", "topic": "projects/project/topics/out"}],
        "dead_letters": {"type": "pubsub", "topic": "projects/project/topics/dead"},
        "report": {"path": str(workdir)},
    }
    job = make_job(topics)
    assert with_absolute_paths(job) == job
