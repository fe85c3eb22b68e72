"""From the call of gcloud to the job: the template at a recording fake of the service.

gcloud, the program and Beam are the real ones; the launcher between them is a stand-in.
"""

import hashlib
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from apache_beam.portability.api import beam_runner_api_pb2
from fake_dataflow import BUCKET, PROJECT, REGION, FakeCloud
from gcloud import gcloud
from google.cloud.dataflow_v1beta3.types import Job
from google.protobuf.json_format import MessageToDict, ParseDict
from launcher import JOB_OBJECT, LaunchError, words_of
from places import Places
from running import Ended, numbers
from same_graph import without_varying

from scoreline.pipelines import launch, stream
from scoreline.pipelines.template_environment import environment_of
from scoreline.pipelines.template_program import command_of, read_parameters
from scoreline.pipelines.template_spec import METADATA, SPEC, container_spec, write_files

ROOT = Path(__file__).resolve().parents[2]
MAIN = ROOT / "templates" / "dataflow" / "main.py"
IMAGE = "localhost:9/scoreline/scoreline:0.1.0"  # nobody is asked what it holds: nobody is there
TEMPLATE = f"gs://{BUCKET}/templates/{SPEC}"
RUN_ID = "20260131T120000Z-a1b2c3"
Scoreline = Callable[..., Ended]
Made = tuple[dict[str, Any], beam_runner_api_pb2.Pipeline]


@pytest.fixture
def shop(cloud: FakeCloud, classifier_file: Path, monkeypatch: pytest.MonkeyPatch) -> FakeCloud:
    """The fake, with a model, some rows, a job file and the template in its bucket."""
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", PROJECT)  # else Google's library asks gcloud for it
    cloud.store.put(f"{BUCKET}/models/churn.joblib", classifier_file.read_bytes())
    sink = pa.BufferOutputStream()
    pq.write_table(numbers(100), sink)
    cloud.store.put(f"{BUCKET}/in/a.parquet", sink.getvalue().to_pybytes())
    spec = container_spec(IMAGE, environment_of(["--max_num_workers=5"]))
    cloud.store.put(f"{BUCKET}/templates/{SPEC}", json.dumps(spec).encode())
    cloud.store.put(f"{BUCKET}/jobs/churn.yaml", yaml.safe_dump(JOB).encode())
    return cloud


FILES = {
    "--input": f"gs://{BUCKET}/in/*.parquet",
    "--model": f"gs://{BUCKET}/models/churn.joblib",
    "--output": f"gs://{BUCKET}/scores",
    "--keep": "id,a",
    "--outputs": "predict,predict_proba",
    "--max-dead-letter-ratio": "0.2",
}


JOB = {
    "name": "churn",
    "source": {"path": f"gs://{BUCKET}/in/*.parquet"},
    "model": {"uri": f"gs://{BUCKET}/models/churn.joblib", "outputs": ["predict_proba"]},
    "sinks": [{"path": f"gs://{BUCKET}/scores"}, {"path": f"gs://{BUCKET}/more", "format": "csv"}],
}
STREAM = {
    "--model": f"gs://{BUCKET}/models/churn.joblib",
    "--dead-letters": f"gs://{BUCKET}/rejected",
    "--report": f"gs://{BUCKET}/runs",
    "--types": "id=int64",
}


def flags(values: dict[str, str]) -> list[str]:
    return [f"{flag}={value}" for flag, value in values.items()]


def pinned(cloud: FakeCloud) -> list[str]:
    model = cloud.store.get(f"gs://{BUCKET}/models/churn.joblib")
    return [f"--sha256={hashlib.sha256(model).hexdigest()}"]


def beam(cloud: FakeCloud) -> list[str]:
    """What both ways are given: where, and two of Beam's flags of which gcloud knows one."""
    named = [flag for flag in cloud.flags if not flag.startswith("--runner")]
    return [*named, "--job_name=nightly", "--machine_type=n2-standard-4", "--disk_size_gb=50"]


def start(scoreline: Scoreline, cloud: FakeCloud, tmp_path: Path, *words: str) -> None:
    """Has the real gcloud make the call that `scoreline template run --print` prints."""
    printed = scoreline("template", "run", TEMPLATE, *words, *beam(cloud), "--print")
    assert printed.code == 0, printed.err
    program, *call = shlex.split(printed.out.replace("\\\n", ""))
    assert program == "gcloud"
    assert "nightly" in gcloud(cloud, tmp_path, *call)


def test_gcloud_builds_the_same_template(shop: FakeCloud, tmp_path: Path) -> None:
    """Of the form it knows all but the newest keys, and it has no flag for the workers' image."""
    spec = container_spec(IMAGE, environment_of(["--max_num_workers=5"]))
    write_files(str(tmp_path), {METADATA: spec["metadata"]}, overwrite=False)
    printed = gcloud(
        shop,
        tmp_path,
        *("dataflow", "flex-template", "build", TEMPLATE, "--print-only"),
        *(f"--image={IMAGE}", "--sdk-language=PYTHON", "--max-workers=5"),
        f"--metadata-file={tmp_path / METADATA}",
    )
    theirs = json.loads(yaml.safe_load(printed))  # it prints YAML that holds JSON as text
    assert spec["defaultEnvironment"].pop("sdkContainerImage") == IMAGE
    for key in ("supportsAtLeastOnce", "supportsExactlyOnce"):
        assert spec["metadata"].pop(key) is True
    assert theirs == spec


def test_a_template_is_published_and_checked_in_a_bucket(
    scoreline: Scoreline, shop: FakeCloud
) -> None:
    folder = f"gs://{BUCKET}/published"
    build = ("template", "build", f"--image={IMAGE}", f"--output={folder}/")
    assert scoreline(*build).out == f"{folder}/{SPEC}\n{folder}/{METADATA}\n"
    assert json.loads(shop.store.get(f"{folder}/{SPEC}")) == container_spec(IMAGE, {})
    assert f"{folder}/{SPEC} exists" in scoreline(*build).err
    assert scoreline(*build, "--overwrite").code == 0
    checked = scoreline("template", "check", f"{folder}/{SPEC}")
    assert (checked.code, checked.err) == (0, "")
    missing = scoreline("template", "check", f"{folder}/other.json")
    assert missing.code == 2
    assert f"scoreline: cannot read {folder}/other.json: " in missing.err


def test_gcloud_sends_what_was_asked_for(
    scoreline: Scoreline, shop: FakeCloud, tmp_path: Path
) -> None:
    start(scoreline, shop, tmp_path, *flags(FILES), *pinned(shop), "--overwrite")
    ((project, region, body),) = shop.launches
    assert (project, region) == (PROJECT, REGION)
    launched = body["launchParameter"]
    assert launched["containerSpecGcsPath"] == TEMPLATE
    names = {flag.lstrip("-").replace("-", "_"): value for flag, value in FILES.items()}
    (digest,) = pinned(shop)
    expected = {**names, "sha256": digest.partition("=")[2], "overwrite": "true"}
    assert launched["parameters"] == expected
    environment = launched["environment"]
    assert environment["machineType"] == "n2-standard-4"
    assert "disk_size_gb=50" in environment["additionalPipelineOptions"]
    assert environment["tempLocation"] == f"gs://{BUCKET}/temp"


def test_the_form_holds_back_what_the_program_would_refuse(shop: FakeCloud) -> None:
    body = {
        "jobName": "x",
        "containerSpecGcsPath": TEMPLATE,
        "parameters": {"model": "churn.joblib"},
    }
    shop.launches.append((PROJECT, REGION, {"launchParameter": body}))
    with pytest.raises(LaunchError, match=r"model: 'churn\.joblib' does not match"):
        words_of(shop)
    body["parameters"] = {"limit": "5"}
    with pytest.raises(LaunchError, match="unrecognized parameter: limit"):
        words_of(shop)


def test_the_launched_program_makes_a_job(
    scoreline: Scoreline, shop: FakeCloud, tmp_path: Path
) -> None:
    """In a process of its own, as the launcher starts it."""
    start(scoreline, shop, tmp_path, *flags(FILES), *pinned(shop))
    done = subprocess.run(
        [sys.executable, str(MAIN), *words_of(shop)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert shop.jobs == [], "the launcher submits what the program leaves"
    job = json.loads(shop.store.get(JOB_OBJECT))
    assert job["name"] == "nightly"
    assert shop.pipeline(job).components.transforms
    assert job["environment"]["workerPools"][0]["workerHarnessContainerImage"] == IMAGE


def test_a_launch_that_cannot_be_ends_with_its_reason(
    scoreline: Scoreline, shop: FakeCloud
) -> None:
    nothing = flags(FILES | {"--input": f"gs://{BUCKET}/nothing/*.parquet"})
    place = [f"--template_location={JOB_OBJECT}", f"--sdk_container_image={IMAGE}"]
    command = command_of(read_parameters([*shop.flags, *place, *nothing, *pinned(shop)]))
    ended = scoreline(*command)
    assert ended.code == 2
    assert f"gs://{BUCKET}/nothing/*.parquet" in ended.err
    assert JOB_OBJECT not in shop.store.names()


# What differs between two submissions of one job: names by the clock, the hash of the graph, which
# is compared itself, and that one leaves the job to the launcher while the other does not wait.
_VARYING = re.compile(r"nightly\.\d+\.\d+")
_DIFFERENT = ("template_location", "no_wait_until_finish", "pipelineProtoHash")


def described(body: dict[str, Any]) -> Any:
    """A job as the service reads it, whichever way it was written; without what varies."""
    message = ParseDict(body, Job.pb(Job()), ignore_unknown_fields=True)
    found = MessageToDict(message)
    found.pop("clientRequestId", None)
    pipeline_options = found["environment"]["sdkPipelineOptions"]
    for name in _DIFFERENT:
        pipeline_options["options"].pop(name, None)
    shown = pipeline_options["display_data"]
    pipeline_options["display_data"] = [one for one in shown if one["key"] not in _DIFFERENT]
    return json.loads(_VARYING.sub("VARIES", json.dumps(found, sort_keys=True)))


@pytest.fixture
def one_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every run has the same id, which stands in labels, names and the graph."""
    for module in (launch, stream):
        monkeypatch.setattr(module, "new_run_id", lambda: RUN_ID)


def both_ways(
    scoreline: Scoreline, shop: FakeCloud, tmp_path: Path, template: list[str], direct: list[str]
) -> tuple[Made, Made]:
    """What the launcher leaves, and what the command submits: the job and its graph."""
    before = dict(shop.store.objects)
    start(scoreline, shop, tmp_path, *template)
    command = command_of(read_parameters(words_of(shop)))
    ended = scoreline(*command, "--quiet")
    assert ended.code == 0, ended.err
    launched = json.loads(shop.store.get(JOB_OBJECT))
    graph = shop.pipeline(launched)
    shop.store.objects = before
    where = ["--runner=DataflowRunner", f"--sdk_container_image={IMAGE}", "--max_num_workers=5"]
    ended = scoreline(*direct, *where, *beam(shop), "--no_wait_until_finish", "--quiet")
    assert ended.code == 0, ended.err
    (submitted,) = shop.jobs
    return (launched, graph), (submitted.body, shop.pipeline(submitted))


@pytest.mark.parametrize("kind", ["files", "job file"])
def test_the_job_is_the_one_that_the_command_submits(
    scoreline: Scoreline, shop: FakeCloud, tmp_path: Path, one_run: None, kind: str
) -> None:
    (digest,) = pinned(shop)
    if kind == "files":
        words = [*flags(FILES), digest]
        made = both_ways(scoreline, shop, tmp_path, words, ["score", *words])
    else:
        job = f"gs://{BUCKET}/jobs/churn.yaml"
        trust = f"--set=model.trust.{digest.removeprefix('--')}"
        direct = ["run", job, "--set=sinks.0.keep=[id]", trust]
        words = [f"--job-file={job}", "--keep=id", digest]
        made = both_ways(scoreline, shop, tmp_path, words, direct)
    launched, submitted = (described(job) for job, _ in made)
    assert launched == submitted
    assert without_varying(made[0][1]) == without_varying(made[1][1])
    assert launched["type"] == "JOB_TYPE_BATCH"


def test_a_stream_is_the_one_that_the_command_submits(
    scoreline: Scoreline, shop: FakeCloud, tmp_path: Path, one_run: None, places: Places
) -> None:
    """Nothing but the input says that it is one."""
    where = {"--input": places.uri, "--output": f"pubsub://{places.scores_topic}"}
    words = [*flags(where | STREAM), *pinned(shop)]
    made = both_ways(scoreline, shop, tmp_path, words, ["score", *words])
    launched, submitted = (described(job) for job, _ in made)
    assert launched == submitted
    assert without_varying(made[0][1]) == without_varying(made[1][1])
    assert launched["type"] == "JOB_TYPE_STREAMING"
