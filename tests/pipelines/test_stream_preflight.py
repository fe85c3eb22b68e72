"""What keeps a stream from starting, word by word; nothing is pulled and nothing is written."""

import json
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pyarrow as pa
import pytest
from emulator import PROJECT
from odd_models import Picky
from places import Places
from refused import Refused
from running import Ended
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from scoreline.pipelines import ask_pubsub, stream_preflight
from scoreline.pipelines.errors import NoAnswerError, UsageError
from scoreline.pipelines.job import Job, make_job
from scoreline.pipelines.stream_preflight import PreparedStream, check_stream
from scoreline.transforms import pubsub_client

Score = Callable[..., Ended]

FIELDS = [{"name": name, "type": "double"} for name in "abc"]
AVRO = {"type": "record", "name": "r", "fields": FIELDS}


def job_of(places: Places, model: Path, source: dict[str, Any], changes: Any) -> Job:
    return make_job(
        {
            "name": "live",
            "source": {"type": "pubsub", "subscription": places.subscription, **source},
            "model": {"uri": str(model), "trust": {"allow_pickle": True, "allow_code": True}},
            "sinks": [{"path": "out"}],
        }
        | (changes or {})
    )


@pytest.fixture
def prepare(places: Places, classifier_file: Path, workdir: Path) -> Callable[..., PreparedStream]:
    def run(*, model: Path = classifier_file, changes: Any = None, **source: Any) -> PreparedStream:
        prepared = check_stream(job_of(places, model, source, changes))
        assert list(workdir.iterdir()) == [], "a check writes nothing"
        return prepared

    return run


@pytest.fixture
def refusal(places: Places, classifier_file: Path, workdir: Path) -> Callable[..., str]:
    def run(*, model: Path = classifier_file, changes: Any = None, **source: Any) -> str:
        with pytest.raises(UsageError) as caught:
            check_stream(job_of(places, model, source, changes))
        return str(caught.value)

    return run


def test_what_the_model_takes_is_read(prepare: Any, places: Places) -> None:
    prepared = prepare()
    assert prepared.schema == pa.schema(dict.fromkeys("abc", pa.float64()))
    assert prepared.keeps == (("a", "b", "c"),)
    assert prepared.source.deadline_secs == 10
    assert prepared.found.topic == places.topic
    assert not prepared.reading.untyped
    names = ["a", "b", "c", "prediction", "model_version", "row_id"]
    assert prepared.output_schemas[0].names == names


def test_types_keep_rename_and_what_a_message_says_of_itself(prepare: Any) -> None:
    prepared = prepare(
        types={"id": "int64"},
        rename={"A": "a", "Plan": "plan"},
        attributes=["region"],
        message_id="mid",
        publish_time="at",
        changes={"sinks": [{"path": "out", "keep": ["id", "plan", "region"]}]},
    )
    assert prepared.schema == pa.schema(
        {
            "id": pa.int64(),
            "a": pa.float64(),
            "b": pa.float64(),
            "c": pa.float64(),
            "plan": pa.string(),
            "region": pa.string(),
            "mid": pa.string(),
            "at": pa.timestamp("us", "UTC"),
        }
    )
    assert prepared.reading.schema.names == ["id", "A", "b", "c", "Plan"]
    assert prepared.reading.untyped == {"Plan"}, "by its name in the message"
    assert prepared.source.attributes
    assert prepared.keeps == (("id", "plan", "region"),)


def test_the_model_may_take_what_is_no_part_of_the_payload(prepare: Any, workdir: Path) -> None:
    prepared = prepare(attributes=["a"])
    assert prepared.reading.schema.names == ["b", "c"]


def test_what_duplicates_are_told_by_is_read(prepare: Any) -> None:
    assert prepare(deduplicate_by="tx").schema.field("tx").type == pa.string()
    assert prepare(deduplicate_by="message_id").schema.names == ["a", "b", "c"]


def test_settings_reach_the_source(prepare: Any) -> None:
    prepared = prepare(
        pull_threads=2,
        max_messages_in_hand=100,
        max_bytes_in_hand=1000,
        max_lease_secs=1,
        stop_when_idle_secs=2,
        changes={
            "max_latency_secs": 0.5,
            "sinks": [{"path": "out", "flush_secs": 3}, {"path": "more", "flush_secs": 2}],
        },
    )
    assert prepared.source == replace(
        prepared.source,
        bundle_secs=2,
        max_latency_secs=0.5,
        pull_threads=2,
        max_messages=100,
        max_bytes=1000,
        max_lease_secs=10,
        stop_when_idle_secs=2,
    )


def test_a_sink_that_names_no_flush_secs_has_the_default(prepare: Any) -> None:
    changes = {"sinks": [{"path": "out", "flush_secs": 60}, {"path": "more"}]}
    assert prepare(changes=changes).source.bundle_secs == 1
    changes = {"sinks": [{"path": "out", "flush_secs": 60}]}
    assert prepare(changes=changes).source.bundle_secs == 60


def test_files_are_flushed_before_leases_end(prepare: Any, refusal: Any) -> None:
    changes = {"sinks": [{"path": "out", "flush_secs": 900}]}
    said = refusal(changes=changes)
    assert said.startswith("flush_secs is 900 and source.max_lease_secs 600: messages are ack")
    assert "written again and again. Lower flush_secs, or raise source.max_lease_secs" in said
    assert "is 900 and source.max_lease_secs 900" in refusal(changes=changes, max_lease_secs=900)
    assert prepare(changes=changes, max_lease_secs=1800).source.bundle_secs == 900


def test_raw_text_and_raw_bytes(
    prepare: Any, workdir: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    model = tmp_path_factory.mktemp("text") / "text.joblib"
    fitted = make_pipeline(CountVectorizer(), LogisticRegression()).fit(["ab cd", "cd ef"], [0, 1])
    joblib.dump(fitted, model)
    spec = {"uri": str(model), "features": ["text"], "trust": {"allow_pickle": True}}
    prepared = prepare(format="raw", changes={"model": spec})
    assert prepared.schema == pa.schema({"text": pa.string()})
    spec |= {"preprocess": "json:dumps", "trust": {"allow_pickle": True, "allow_code": True}}
    prepared = prepare(format="raw", changes={"model": spec})
    assert prepared.schema == pa.schema({"payload": pa.binary()})


def test_avro_and_csv(
    prepare: Any, tmp_path_factory: pytest.TempPathFactory, workdir: Path
) -> None:
    schema = tmp_path_factory.mktemp("avro") / "schema.avsc"
    schema.write_text(json.dumps(AVRO))
    assert prepare(format="avro", avro_schema=str(schema)).reading.avro_schema == json.dumps(AVRO)
    names = ["c", "b", "x", "a"]
    prepared = prepare(format="csv", csv={"header": False, "names": names})
    assert prepared.reading.dialect.names == tuple(names)
    assert prepared.schema.names == ["a", "b", "c"]


def test_an_avro_schema_says_the_types(
    prepare: Any, tmp_path_factory: pytest.TempPathFactory, classifier_file: Path
) -> None:
    path = tmp_path_factory.mktemp("avro") / "schema.avsc"
    of_lists = {"type": "array", "items": "int"}
    more = [{"name": "tx", "type": "long"}, {"name": "parts", "type": of_lists}]
    fields = [*FIELDS[:2], {"name": "c", "type": "long"}, *more, {"name": "old", "type": "int"}]
    path.write_text(json.dumps(AVRO | {"fields": fields}))
    sinks = [{"path": "out", "keep": ["a", "tx", "list"]}]
    source = {"format": "avro", "avro_schema": str(path), "rename": {"parts": "list"}}
    prepared = prepare(changes={"sinks": sinks}, types={"a": "float"}, **source)
    named = dict(zip(prepared.schema.names, prepared.schema.types, strict=True))
    assert named.pop("list") == pa.list_(pa.field("item", pa.int32(), nullable=False))
    assert named == {"a": pa.float32(), "b": pa.float64(), "c": pa.int64(), "tx": pa.int64()}
    assert prepared.reading.untyped == frozenset()
    model = {"uri": str(classifier_file), "preprocess": "json:dumps"}
    model["trust"] = {"allow_pickle": True, "allow_code": True}
    prepared = prepare(changes={"model": model}, **source)
    assert prepared.schema.names == ["a", "b", "c", "tx", "list", "old"]


@pytest.mark.parametrize("type_", [{"type": "array", "items": "int"}, "bytes"])
def test_what_is_no_id(
    refusal: Any, prepare: Any, tmp_path_factory: pytest.TempPathFactory, type_: Any
) -> None:
    path = tmp_path_factory.mktemp("avro") / "schema.avsc"
    tenth = {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 1}
    more = [{"name": "parts", "type": type_}, {"name": "tx", "type": tenth}]
    path.write_text(json.dumps(AVRO | {"fields": [*FIELDS, *more]}))
    source = {"format": "avro", "avro_schema": str(path)}
    said = refusal(deduplicate_by="parts", **source)
    assert said.startswith("--deduplicate-by parts (source.deduplicate_by): expected a column of")
    for name in ("tx", "message_id"):
        assert prepare(deduplicate_by=name, **source)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ({"format": "csv"}, "a message of the format csv has no header: name its fields in order"),
        (
            {"format": "csv", "csv": {"names": ["a", "b"]}},
            "'c'",
        ),
        ({"format": "avro"}, "give the file of it with --avro-schema FILE (source.avro_schema)"),
        ({"format": "avro", "avro_schema": "no"}, "cannot read --avro-schema no: "),
        ({"format": "raw"}, "raw messages: expected one column of strings or bytes, got"),
        ({"attributes": ["x"], "message_id": "x"}, "the columns ['x'] would come from two parts"),
        ({"types": {"x": "date"}, "publish_time": "x"}, "the columns ['x'] would come from two"),
        ({"types": {"_scoreline_x": "date"}}, "names that start with _scoreline_ are reserved"),
        ({"attributes": ["_scoreline_x"]}, "names that start with _scoreline_ are reserved"),
    ],
)
def test_what_does_not_fit_together(refusal: Any, source: dict[str, Any], said: str) -> None:
    assert said in refusal(**source)


def test_a_broken_avro_schema(refusal: Any, workdir: Path) -> None:
    Path("broken.avsc").write_text("{")
    assert "avro" in refusal(format="avro", avro_schema="broken.avsc").lower()


def test_preprocess_needs_the_columns(refusal: Any, classifier_file: Path) -> None:
    spec = {"uri": str(classifier_file), "preprocess": "json:dumps"}
    spec["trust"] = {"allow_pickle": True, "allow_code": True}  # type: ignore[assignment]
    assert "name them all with --types COLUMN=TYPE,... (source.types)" in refusal(
        changes={"model": spec}
    )


def test_a_column_that_is_written_twice(refusal: Any) -> None:
    sinks = [{"path": "out", "keep": ["prediction"]}]
    assert "already has the columns ['prediction']" in refusal(changes={"sinks": sinks})


def test_the_subscriptions_own_topic_takes_no_output(refusal: Any, places: Places) -> None:
    sinks = [{"path": "out"}, {"type": "pubsub", "topic": places.topic}]
    assert refusal(changes={"sinks": sinks}) == (
        f"--output pubsub://{places.topic}: the subscription {places.subscription} reads this very "
        "topic: what is published would come back, for ever. Choose another topic."
    )
    dead = {"type": "pubsub", "topic": places.topic}
    assert "reads this very topic" in refusal(changes={"dead_letters": dead})


def test_dead_letters_do_not_go_where_predictions_go(refusal: Any, places: Places) -> None:
    topic = {"type": "pubsub", "topic": places.scores_topic}
    changes = {"sinks": [{"path": "out"}, topic], "dead_letters": topic}
    assert "would take dead letters for predictions" in refusal(changes=changes)


def test_what_is_not_there(refusal: Any, score: Score, places: Places) -> None:
    none = "there is none of this name. Create it, or check project and spelling."
    missing = f"projects/{PROJECT}/subscriptions/nobody"
    assert refusal(subscription=missing) == f"--input pubsub://{missing}: {none}"
    topic = f"projects/{PROJECT}/topics/nobody"
    sinks = [{"path": "out"}, {"type": "pubsub", "topic": topic}]
    assert refusal(changes={"sinks": sinks}) == f"--output pubsub://{topic}: {none}"
    dead = {"type": "pubsub", "topic": topic}
    assert refusal(changes={"dead_letters": dead}) == f"--dead-letters pubsub://{topic}: {none}"
    assert "no such name is possible" in refusal(subscription=f"projects/{PROJECT}/subscriptions/s")
    ended = score(input=f"pubsub://{missing}")
    assert ended.code == 2
    assert ended.err == f"scoreline: --input pubsub://{missing}: {none}\n"
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("PERMISSION_DENIED", "no permission: it takes roles/pubsub.viewer and"),
        ("UNAUTHENTICATED", "cannot talk to Pub/Sub: UNAUTHENTICATED: because. For the emulator,"),
    ],
)
def test_what_may_not_be_seen(
    refusal: Any, monkeypatch: pytest.MonkeyPatch, code: str, said: str
) -> None:
    def refuse(*_: Any) -> None:
        raise Refused(code, "because")

    monkeypatch.setattr(stream_preflight.client(), "_get_subscription", refuse)
    assert said in refusal()


def test_each_permission_that_is_missing_is_named_with_its_role(
    refusal: Any, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def may(path: str, permission: str) -> bool:
        asked.append(permission)
        return path == places.scores_topic

    monkeypatch.setattr(stream_preflight.client(), "may", may)
    sinks = [{"path": "out"}, {"type": "pubsub", "topic": places.scores_topic}]
    dead = {"type": "pubsub", "topic": places.dead_topic}
    account = "to the account that runs this."
    assert refusal(changes={"sinks": sinks, "dead_letters": dead}).splitlines() == [
        f"--input pubsub://{places.subscription}: no permission pubsub.subscriptions.consume: "
        f"grant roles/pubsub.subscriber on {places.subscription} {account}",
        f"--dead-letters pubsub://{places.dead_topic}: no permission pubsub.topics.publish: "
        f"grant roles/pubsub.publisher on {places.dead_topic} {account}",
    ]
    assert len(asked) == 3


def test_workers_elsewhere_have_credentials_of_their_own(
    places: Places, classifier_file: Path, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_preflight.client(), "may", lambda path, permission: False)
    job = job_of(places, classifier_file, {}, {})
    assert check_stream(job, is_in_process=False).found.topic == places.topic


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"is_detached": True}, "it was detached from its topic: nothing comes, and what it held"),
        (
            {"delivers_to": "an endpoint"},
            "the service pushes its messages to an endpoint: nothing can be pulled. Make one of",
        ),
        ({"delivers_to": "an endpoint"}, " --push-endpoint="),
        ({"delivers_to": "BigQuery"}, "pushes its messages to BigQuery: nothing can be pulled"),
    ],
)
def test_a_subscription_that_cannot_be_pulled_from(
    refusal: Any, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], said: str
) -> None:
    ours = stream_preflight.client()
    describe = ours.describe_subscription
    monkeypatch.setattr(
        ours, "describe_subscription", lambda path: replace(describe(path), **changes)
    )
    message = refusal()
    assert said in message
    assert "gcloud pubsub subscriptions create NAME --topic " in message


def test_no_credentials(
    refusal: Any, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    home = tmp_path_factory.mktemp("home")
    monkeypatch.delenv("PUBSUB_EMULATOR_HOST")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(home / "none.json"))
    pubsub_client.client.cache_clear()
    said = refusal()
    assert "cannot talk to Pub/Sub: DefaultCredentialsError: " in said
    assert said.endswith("else log in with gcloud auth application-default login.")
    assert ".." not in said.replace("...", "")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ask_pubsub, "_RETRY_SECS", 1.0)


@pytest.mark.usefixtures("impatient")
def test_a_service_that_cannot_be_reached(
    score: Score, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", f"127.0.0.1:{port}")
    pubsub_client.client.cache_clear()
    started = time.monotonic()
    ended = score(input=f"pubsub://{places.subscription}")
    assert time.monotonic() - started < 15
    assert ended.code == 1, "it is nobody's mistake: a supervisor is to start it again"
    flag = f"--input pubsub://{places.subscription}"
    said, error = ended.err.splitlines()
    assert f"{flag}: Pub/Sub does not answer, trying again for 1 s: UNAVAILABLE" in said
    assert error.startswith(f"scoreline: {flag}: Pub/Sub did not answer for 1 s: UNAVAILABLE")
    assert error.endswith("Nothing was started: give the same command again when it answers.")
    assert not Path("out").exists()


@pytest.mark.usefixtures("impatient")
def test_a_service_that_never_answers(prepare: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", f"127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setattr(pubsub_client, "_ASK_SECS", 1.0)
        pubsub_client.client.cache_clear()
        started = time.monotonic()
        with pytest.raises(NoAnswerError, match=r"did not answer for [1-4] s: DEADLINE_EXCEEDED"):
            prepare()
    assert time.monotonic() - started < 10
    assert pubsub_client._ASK_SECS <= 10


def test_a_model_that_refuses_the_made_up_row(
    prepare: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    model = tmp_path_factory.mktemp("odd") / "odd.joblib"
    joblib.dump(Picky(), model)
    assert "prediction" in prepare(model=model).output_schemas[0].names


def test_a_feature_that_is_text(prepare: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    import pandas as pd
    from sklearn.compose import make_column_transformer
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    frame = pd.DataFrame({"plan": ["a", "b"] * 5, "age": np.arange(10.0)})
    encode = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["plan"]), (StandardScaler(), ["age"])
    )
    model = tmp_path_factory.mktemp("frame") / "frame.joblib"
    joblib.dump(make_pipeline(encode, LogisticRegression()).fit(frame, [0, 1] * 5), model)
    schema = prepare(model=model).schema
    assert schema == pa.schema({"plan": pa.string(), "age": pa.float64()})
