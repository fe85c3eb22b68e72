"""`check` and `--dry-run` of a stream: what they find, and that they pull and write nothing."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import pandas as pd
import pytest
from places import Places
from running import Ended, numbers
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

Scoreline = Callable[..., Ended]
Score = Callable[..., Ended]


def found_by(scoreline: Scoreline, job: str) -> dict[str, Any]:
    ended = scoreline("check", job, "--output-json", "--quiet")
    assert ended.code == 0, ended.err
    found: dict[str, Any] = json.loads(ended.out)
    return found


def test_what_a_check_finds(
    scoreline: Scoreline, places: Places, workdir: Path, classifier_file: Path
) -> None:
    places.publish_rows(numbers(3))
    sinks = [
        {"path": "out", "format": "csv", "flush_secs": 5},
        {"type": "pubsub", "topic": places.scores_topic, "keep": ["id"]},
    ]
    dead = {"type": "pubsub", "topic": places.dead_topic}
    source = {"deduplicate_by": "id", "stop_when_idle_secs": None, "max_lease_secs": 5}
    job = places.write_job(classifier_file, source=source, sinks=sinks, dead_letters=dead)

    found = found_by(scoreline, job)

    columns = {"id": "int64", "a": "double", "b": "double", "c": "double"}
    assert found["input"] == {
        "subscription": places.subscription,
        "topic": places.topic,
        "ack_deadline_secs": 10.0,
        "format": "json",
        "columns": columns,
        "deduplicate_by": "id",
        "deduplicate_secs": 600.0,
        "stop_when_idle_secs": None,
    }
    assert found["in_hand"] == {
        "pull_threads": 4,
        "max_messages": 20_000,
        "max_bytes": 64 * 2**20,
        "max_lease_secs": 10,
    }
    added = {"prediction": "string", "model_version": "string", "row_id": "string"}
    assert found["outputs"] == [
        {"path": "out", "files": "part-*.csv", "flush_secs": 5.0, "columns": columns | added},
        {
            "path": f"pubsub://{places.scores_topic}",
            "attributes": ["model_version", "row_id", "id"],
            "columns": {"id": "int64"} | added,
        },
    ]
    assert found["dead_letters"] == f"pubsub://{places.dead_topic}"
    assert found["reports"] == "out/_run"
    assert (found["runner"], found["mode"], found["readers"]) == ("DirectRunner", "streaming", 1)
    assert found["max_latency_secs"] == 0.1
    assert found["model"]["columns"] == dict.fromkeys("abc", "number, not null")
    emulator, lease, duplicates = found["notes"]
    assert emulator.startswith("PUBSUB_EMULATOR_HOST is set: this is the emulator at 127.0.0.1:")
    assert duplicates == "duplicates are found within this process only, and not across a restart"
    assert lease.startswith("max_lease_secs is 10: no less than the subscription's own deadline")
    assert found["exit_code"] == 0
    assert [path.name for path in workdir.iterdir()] == ["job.yaml"]
    assert len(places.left()) == 3, "nothing was pulled"


def test_what_a_person_reads_of_it(score: Score, places: Places, workdir: Path) -> None:
    flags = ("--keep", "tx", "--deduplicate-by", "tx", "--stop-when-idle-secs", "9")
    ended = score(*flags, "--dry-run", input=places.uri)
    assert ended.code == 0, ended.err
    model = [line for line in ended.err.splitlines() if line.startswith("model ")]
    note = [line for line in ended.err.splitlines() if "PUBSUB_EMULATOR_HOST" in line]
    assert ended.err.splitlines() == [
        f"input      {places.uri}, json messages of {places.topic}",
        *("           a: double", "           b: double", "           c: double"),
        "           tx: string",
        "           duplicates by tx within 600 s are dropped",
        "           ends when nothing has come for 9 s",
        "in hand    at most 20,000 messages and 67,108,864 bytes that wait, each for at most "
        "600 s; 4 pulls at a time",
        "           leases of 10 s are extended; batches are sized to take 0.1 s at most",
        *model,
        *("           a: number, not null", "           b: number, not null"),
        "           c: number, not null",
        "output     out (part-*.parquet, a file each 1 s)",
        *("           tx: string", "           prediction: string"),
        *("           model_version: string", "           row_id: string"),
        "rejected   out/_dead_letters (at most 5.00%)",
        "reports    out/_run",
        "runner     DirectRunner: messages are acknowledged when the bundle's sinks have flushed",
        *note,
        "note       the columns ['tx'] are read as text, as nobody says their types: --types",
        "note       duplicates are found within this process only, and not across a restart",
        "nothing was pulled, and nothing was written: the job can start.",
    ]
    assert list(workdir.iterdir()) == []


def test_columns_that_the_model_does_not_say_the_type_of(
    scoreline: Scoreline, places: Places, workdir: Path
) -> None:
    frame = pd.DataFrame({"plan": ["a", "b"] * 5, "age": range(10)})
    encode = make_column_transformer((OneHotEncoder(), ["plan"]), remainder="passthrough")
    joblib.dump(make_pipeline(encode, LogisticRegression()).fit(frame, [0, 1] * 5), "m.joblib")
    notes = found_by(scoreline, places.write_job(Path("m.joblib")))["notes"]
    assert "the columns ['age'] are read as text, as nobody says their types" in notes[1]
    types = {"types": {"age": "double", "plan": "string"}}
    notes = found_by(scoreline, places.write_job(Path("m.joblib"), source=types))["notes"]
    assert len(notes) == 1


def test_rows_that_nobody_checks_and_a_topic_that_is_gone(
    scoreline: Scoreline,
    places: Places,
    workdir: Path,
    classifier_file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Path("same.py").write_text("def same(batch):\n    return batch\n")
    monkeypatch.syspath_prepend(workdir)
    trust = {"allow_pickle": True, "allow_code": True}
    model = {"uri": str(classifier_file), "preprocess": "same:same", "trust": trust}
    types = dict.fromkeys("abc", "double")
    job = places.write_job(classifier_file, model=model, source={"types": types})
    places.client.delete_topic(places.topic)
    notes = found_by(scoreline, job)["notes"]
    assert "the rows are not checked before --preprocess sees them" in notes
    assert "the subscription's topic was deleted: nothing new will come" in notes


UNFIT = [
    ({"source": {"subscription": "projects/p/subscriptions/no-such"}}, (), 2, "none of this name"),
    ({"source": {"format": "csv"}}, (), 2, "has no header"),
    ({"model": {"uri": "no.joblib"}}, (), 4, "no.joblib: it does not exist"),
    ({"sinks": [{"path": "out.csv"}]}, (), 2, "names one file, which a stream could never"),
    ({"sinks": [{"path": "job.yaml/out"}]}, (), 2, "is a file, not a folder"),
    ({}, ("--overwrite",), 2, "--overwrite: a stream adds to what is there"),
    ({}, ("--direct_num_workers=3",), 2, "a stream runs in one process and one thread"),
    ({"dead_letters": {"path": "dead.parquet"}}, (), 2, "dead.parquet names one file"),
    ({"dead_letters": {"path": "out/dead"}}, (), 2, "the dead letters cannot go to out/dead"),
]


@pytest.mark.parametrize(("changes", "flags", "code", "said"), UNFIT)
@pytest.mark.parametrize("verb", ["check", "run"])
def test_a_check_ends_as_the_run_would(
    scoreline: Scoreline,
    places: Places,
    workdir: Path,
    classifier_file: Path,
    verb: str,
    changes: dict[str, Any],
    flags: tuple[str, ...],
    code: int,
    said: str,
) -> None:
    job = places.write_job(classifier_file, **changes)
    ended = scoreline(verb, job, *flags)
    assert ended.code == code, ended.err
    assert said in ended.err
    assert [path.name for path in workdir.iterdir()] == ["job.yaml"]
