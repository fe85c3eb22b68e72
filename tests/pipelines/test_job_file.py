import io
from pathlib import Path

import pytest

from scoreline.pipelines.errors import UsageError
from scoreline.pipelines.job import Job, make_job
from scoreline.pipelines.job_file import hide, read_job_values
from scoreline.transforms import storage

MINIMAL = """
name: churn
source: {path: "in/*.parquet"}
model: {uri: churn.joblib}
sinks: [{path: out}]
"""


@pytest.fixture
def job_file(tmp_path):
    def write(text):
        path = tmp_path / "job.yaml"
        path.write_text(text)
        return str(path)

    return write


def read(path, *settings):
    return make_job(read_job_values(path, settings).values)


def refusal(path, *settings):
    with pytest.raises(UsageError) as caught:
        read(path, *settings)
    return str(caught.value).replace(path, "job.yaml")


def test_a_minimal_job_has_the_documented_defaults(job_file):
    job = read(job_file(MINIMAL))
    assert job.source.path == ("in/*.parquet",)
    assert job.model.outputs == ("predict",)
    assert job.dead_letters.max_ratio == 0.05
    assert not job.model.trust.allow_pickle


def test_a_job_is_frozen_and_equal_jobs_have_one_fingerprint(job_file):
    job = read(job_file(MINIMAL))
    with pytest.raises(Exception, match="frozen"):
        job.name = "other"
    assert job.fingerprint == read(job_file(MINIMAL)).fingerprint
    assert job.fingerprint != read(job_file(MINIMAL), "name=other").fingerprint


def test_settings_change_values_lists_and_mappings(job_file):
    job = read(
        job_file(MINIMAL),
        "sinks.0.path=elsewhere",
        "model.trust.allow_pickle=true",
        "source.rename.Age=age",
        "dead_letters.max_ratio=0.5",
        "model.outputs=[predict, predict_proba]",
    )
    assert job.sinks[0].path == "elsewhere"
    assert job.model.trust.allow_pickle
    assert job.source.rename == {"Age": "age"}
    assert job.dead_letters.max_ratio == 0.5
    assert job.model.outputs == ("predict", "predict_proba")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("model", "--set model: expected a.b=value"),
        ("sinks.3.path=x", "--set sinks.3.path=x: expected a number from 0 to 0, got '3'"),
        ("name.x=1", "--set name.x=1: name is a single value"),
        ("model.uri=[", "--set model.uri=[: the value is no YAML"),
        ("sourc.path=x", "sourc: unknown key; did you mean 'source'? Expected one of name, source"),
    ],
)
def test_a_wrong_setting_is_explained(job_file, setting, message):
    assert message in refusal(job_file(MINIMAL), setting)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("name: churn", "nam: churn", "nam: unknown key; did you mean 'name'?"),
        ("name: churn", "", "name: missing; it is needed"),
        ('path: "in/*.parquet"', "pth: x", "source.pth: unknown key; did you mean 'path'?"),
        ('path: "in/*.parquet"', "path: {a: 1}", "source.path: expected a list, got a mapping"),
        ('path: "in/*.parquet"', "path: [1]", "source.path.0: expected a string, got 1"),
        ('path: "in/*.parquet"', "path: []", "source.path: expected a list that is not empty"),
        ('path: "in/*.parquet"', 'path: ""', "source.path.0: expected a string that is not empty"),
        ('path: "in/*.parquet"', "path: a, columns: []", "source.columns: expected a list that is"),
        (
            'path: "in/*.parquet"',
            "path: a, limit: true",
            "source.limit: expected a number, got true",
        ),
        (
            'path: "in/*.parquet"',
            "path: a, csv: {names: [a]}",
            "source.csv: expected names only with header: false; with a header its names count",
        ),
        ("name: churn", "name: churn\n1: a", "1: expected a key that is text, got 1"),
        ("uri: churn.joblib", "uri: 3", "model.uri: expected a string, got 3"),
        (
            "uri: churn.joblib",
            "uri: m, trust: {allow_pickel: true}",
            "model.trust.allow_pickel: unknown key; did you mean 'allow_pickle'?",
        ),
        (
            "uri: churn.joblib",
            "uri: m, outputs: predct",
            "model.outputs: expected some of predict, predict_proba",
        ),
        (
            "uri: churn.joblib",
            "uri: m, trust: {allow_pickle: maybe}",
            "model.trust.allow_pickle: expected true or false, got 'maybe'",
        ),
        ("sinks: [{path: out}]", "sinks: []", "sinks: expected a list that is not empty"),
        (
            "sinks: [{path: out}]",
            "sinks: [{path: out}, {path: out/}]",
            "sinks: expected a path of its own for each sink",
        ),
        (
            "sinks: [{path: out}]",
            "sinks: [{path: out, format: xml}]",
            "sinks.0.format: expected 'parquet', 'json', 'csv' or 'avro', got 'xml'",
        ),
        (
            "sinks: [{path: out}]",
            "sinks: [{path: out}]\ndead_letters: {max_ratio: 2}",
            "dead_letters.max_ratio: expected at most 1",
        ),
    ],
)
def test_a_wrong_value_is_named_with_what_was_expected(job_file, old, new, message):
    assert message in refusal(job_file(MINIMAL.replace(old, new)))


STREAM = """
name: live
source: {type: pubsub, subscription: projects/p/subscriptions/tx}
model: {uri: churn.joblib}
sinks: [{path: out}]
"""

TO_A_TOPIC = "sinks: [{type: pubsub, topic: projects/p/topics/scores}]"


def test_a_minimal_stream_has_the_documented_defaults(job_file):
    job = read(job_file(STREAM))
    assert job.is_stream
    assert (job.source.format, job.source.pull_threads, job.max_latency_secs) == ("json", 4, 0.1)
    assert (job.source.max_messages_in_hand, job.source.max_lease_secs) == (20_000, 600)
    assert job.sinks[0].flush_secs is None
    assert job.source.path == ()
    assert job.messages_source is job.source


def test_a_stream_to_topics_alone_says_where_the_rest_goes(job_file):
    text = STREAM.replace("sinks: [{path: out}]", TO_A_TOPIC)
    job = read(
        job_file(text + "report: {path: runs}\n"),
        "dead_letters={type: pubsub, topic: projects/p/topics/dead}",
    )
    assert job.sinks[0].path == "pubsub://projects/p/topics/scores"
    assert job.dead_letters.path is None


SOURCE = "source: {type: pubsub, subscription: projects/p/subscriptions/tx"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "type: pubsub",
            "type: pubsb",
            "source.type: expected one of 'files', 'pubsub', 'bigquery', got 'pubsb'",
        ),
        (
            "subscription: projects/p/subscriptions/tx",
            "subscripton: projects/p/subscriptions/tx",
            "source.subscripton: unknown key; did you mean 'subscription'? Expected one of type, "
            "subscription, format, types, rename, csv, avro_schema, attributes, message_id, "
            "publish_time, deduplicate_by, deduplicate_secs, id_label, stop_when_idle_secs, "
            "pull_threads, max_messages_in_hand, max_bytes_in_hand, max_lease_secs",
        ),
        (
            SOURCE,
            f"{SOURCE}, limit: 3",
            "source.limit: unknown key",
        ),
        (
            SOURCE,
            f"{SOURCE}, csv: {{delimter: x}}",
            "source.csv.delimter: unknown key; did you mean 'delimiter'? Expected one of delimiter",
        ),
        (
            "projects/p/subscriptions/tx",
            "projects/p/topics/tx",
            "source.subscription: expected projects/PROJECT/subscriptions/NAME, got "
            "'projects/p/topics/tx'",
        ),
        (
            SOURCE,
            f"{SOURCE}, types: {{a: int46}}",
            "source.types: expected one of string, int64, int32, double, float, bool, timestamp, "
            "date, got 'int46'; did you mean int64?",
        ),
        (SOURCE, f"{SOURCE}, pull_threads: 0", "source.pull_threads: expected at least 1, got 0"),
        (
            SOURCE,
            f"{SOURCE}, deduplicate_secs: 0",
            "source.deduplicate_secs: expected more than 0",
        ),
        (
            SOURCE,
            f"{SOURCE}, format: parquet",
            "source.format: expected 'json', 'csv', 'avro' or 'raw', got 'parquet'",
        ),
        (
            "{path: out}",
            "{type: bigtable}",
            "sinks.0.type: expected one of 'files', 'pubsub', 'bigquery', got 'bigtable'",
        ),
        (
            "{path: out}",
            "{type: pubsub, topic: scores}",
            "sinks.0.topic: expected projects/PROJECT/topics/NAME, got 'scores'",
        ),
        (
            "{path: out}",
            "{type: pubsub, topic: projects/p/topics/t, path: x}",
            "sinks.0.path: unknown key; expected one of type, topic, keep",
        ),
        (
            "{path: out}",
            "{path: out, flush_sec: 1}",
            "sinks.0.flush_sec: unknown key; did you mean 'flush_secs'? Expected one of type, "
            "path, format, keep, row_id, flush_secs",
        ),
        ("{path: out}", "{path: out, flush_secs: 0}", "sinks.0.flush_secs: expected more than 0"),
        (
            "name: live",
            "name: live\ndead_letters: {type: pubsub, topc: x}",
            "dead_letters.topc: unknown key; did you mean 'topic'? Expected one of type, topic, "
            "max_ratio",
        ),
        (
            "name: live",
            "name: live\ndead_letters: {type: pubsub}",
            "dead_letters.topic: missing; it is needed",
        ),
        (
            "name: live",
            "name: live\ndead_letters: {type: x}",
            "dead_letters.type: expected one of 'files', 'pubsub', 'bigquery', got 'x'",
        ),
        ("name: live", "name: live\nmax_latency_secs: 0", "max_latency_secs: expected more than 0"),
        (
            "sinks: [{path: out}]",
            TO_A_TOPIC,
            "report: a topic has no folder for what a run leaves: give --report FOLDER "
            "(report.path)",
        ),
        (
            "sinks: [{path: out}]",
            f"{TO_A_TOPIC}\nreport: {{path: runs}}",
            "dead_letters: a topic has no folder for rejected rows: give --dead-letters FOLDER or "
            "pubsub://projects/PROJECT/topics/NAME (dead_letters)",
        ),
        (
            "source: {type: pubsub, subscription: projects/p/subscriptions/tx}",
            "source: {subscription: projects/p/subscriptions/tx}",
            "source.path: missing; it is needed",
        ),
        (
            "sinks: [{path: out}]",
            "sinks: [{type: pubsub, topic: projects/p/topics/t}, "
            "{type: pubsub, topic: projects/p/topics/t}]",
            "sinks: expected a path of its own for each sink, got one twice",
        ),
    ],
)
def test_a_wrong_value_of_a_stream_is_named(job_file, old, new, message):
    assert old in STREAM
    assert message in refusal(job_file(STREAM.replace(old, new)))


def test_a_job_that_reads_files_does_not_publish(job_file):
    said = refusal(job_file(MINIMAL.replace("sinks: [{path: out}]", TO_A_TOPIC)))
    assert said == (
        "sinks.0: a job that reads stored data writes files or tables; expected type files or "
        "bigquery, got pubsub. Only what reads a subscription can publish."
    )
    dead = "dead_letters={type: pubsub, topic: projects/p/topics/dead}"
    assert refusal(job_file(MINIMAL), dead) == (
        "dead_letters: a job that reads stored data writes files or tables; got type pubsub"
    )


def test_all_wrong_values_are_named_at_once(job_file):
    text = MINIMAL.replace("name: churn", "nam: churn").replace("churn.joblib", "[]")
    assert len(refusal(job_file(text)).splitlines()) == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "job.yaml: expected a mapping with source, model and sinks"),
        ("- a", "job.yaml: expected a mapping with source, model and sinks"),
        ("a: [", "job.yaml is no valid YAML"),
        (
            "name: !!python/object/apply:os.system [echo]",
            "job.yaml, line 1: the tag '!!python/object/apply:os.system' is not allowed",
        ),
        ("name: !mine x", "job.yaml, line 1: the tag '!mine' is not allowed"),
        ("name: a\nname: b", "job.yaml, line 1: the key 'name' stands twice"),
        ("a: &a [*a]", "job.yaml, line 1: an alias that contains itself"),
        ("[" * 5000, "job.yaml is nested too deeply"),
        ("x: '" + "a" * 2**20 + "'", "a job file has at most 1 MiB"),
    ],
)
def test_what_a_job_file_may_not_hold(job_file, text, message):
    assert message in refusal(job_file(text))


def test_a_yaml_bomb_is_refused_at_once(job_file):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
    assert "more than 10,000 values, aliases counted" in refusal(job_file("\n".join(lines)))


def test_aliases_may_be_used(job_file):
    text = MINIMAL.replace("[{path: out}]", "[&s {path: out, keep: [a]}, {<<: *s, path: other}]")
    assert [sink.keep for sink in read(job_file(text)).sinks] == [("a",), ("a",)]


def test_a_missing_file_names_the_nearest(job_file, tmp_path):
    job_file(MINIMAL)
    assert "no job file" in refusal(str(tmp_path / "jobs.yaml"))
    assert "Did you mean" in refusal(str(tmp_path / "jobs.yaml"))


def test_no_utf8(tmp_path):
    path = tmp_path / "job.yaml"
    path.write_bytes(b"name: \xff")
    assert "is no UTF-8 text" in refusal(str(path))


@pytest.fixture
def bucket(monkeypatch):
    """An object store: {path: content}."""
    objects = {}

    def open_file(path):
        if path not in objects:
            raise OSError(f"404 {path}")
        return io.BytesIO(objects[path])

    monkeypatch.setattr(storage, "open_file", open_file)
    return objects


def test_a_job_file_may_lie_in_an_object_store(bucket, job_file):
    path = job_file(MINIMAL)
    bucket["gs://bucket/job.yaml"] = Path(path).read_bytes()
    settings = ["source.limit=5"]
    assert read_job_values("gs://bucket/job.yaml", settings) == read_job_values(path, settings)


def test_an_object_that_is_no_job_file(bucket):
    bucket["gs://b/large.yaml"] = b"#" * (2**20 + 1)
    bucket["gs://b/latin.yaml"] = b"name: \xe9"
    for name, message in (
        ("none", "cannot read the job file gs://b/none.yaml: 404 gs://b/none.yaml"),
        ("large", "gs://b/large.yaml is larger than 1 MiB; a job file has at most that"),
        ("latin", "gs://b/latin.yaml is no UTF-8 text"),
    ):
        with pytest.raises(UsageError, match=message):
            read_job_values(f"gs://b/{name}.yaml")


def test_variables_are_filled_in_and_can_be_hidden_again(job_file, monkeypatch):
    monkeypatch.setenv("BUCKET", "s3cret")
    values = read_job_values(job_file(MINIMAL.replace("out}", "'gs://${BUCKET}/out'}")))
    assert values.values["sinks"][0]["path"] == "gs://s3cret/out"
    assert hide(values.values, values.variables)["sinks"][0]["path"] == "gs://${BUCKET}/out"


def test_a_variable_that_is_not_set_is_named(job_file, monkeypatch):
    monkeypatch.delenv("NO_SUCH", raising=False)
    text = MINIMAL.replace("[{path: out}]", "[{path: '${NO_SUCH}'}]")
    assert "sinks.0.path: the environment variable NO_SUCH is not set" in refusal(job_file(text))


def test_every_key_of_the_schema_is_described():
    schema = Job.model_json_schema()
    parts = [schema, *schema["$defs"].values()]
    bare = [
        (part["title"], key)
        for part in parts
        for key, value in part["properties"].items()
        if "description" not in value and "const" not in value
    ]
    assert bare == []
