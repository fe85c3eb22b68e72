"""`scoreline template`: build, check, and the call of gcloud, which is made by a stand-in."""

import json
import os
import shlex
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from running import Ended

from scoreline.pipelines.errors import UsageError
from scoreline.pipelines.template_gcloud import as_shell, gcloud_call

Scoreline = Callable[..., Ended]
IMAGE = "europe-west4-docker.pkg.dev/shop/scoreline/scoreline:0.1.0"
SPEC = "gs://shop/templates/scoreline.json"
NEEDED = [
    "--input=gs://shop/in/*.parquet",
    "--model=gs://shop/churn.joblib",
    "--output=gs://shop/scores",
]
CALL = ["template", "run", SPEC, *NEEDED, "--project=shop", "--region=europe-west4"]


def test_the_verb_alone_prints_a_page(scoreline: Scoreline) -> None:
    for words in ([], ["--help"], ["-h"]):
        ended = scoreline("template", *words)
        assert (ended.code, ended.err) == (0, "")
        assert "scoreline template build --image IMAGE --output DIR" in ended.out


def test_an_action_that_is_none(scoreline: Scoreline) -> None:
    ended = scoreline("template", "biuld")
    assert ended.code == 2
    assert (
        "unknown action 'biuld'; did you mean build? Expected one of: build, check, run"
        in ended.err
    )


@pytest.mark.parametrize("action", ["build", "check", "run"])
def test_each_action_has_a_help(scoreline: Scoreline, action: str) -> None:
    ended = scoreline("template", action, "--help")
    assert ended.code == 0
    assert f"usage: scoreline template {action}" in ended.out


def test_build_then_check(scoreline: Scoreline, workdir: Path) -> None:
    built = scoreline("template", "build", "--image", IMAGE, "--output", "t", "--max_num_workers=5")
    assert built == Ended(0, "t/scoreline.json\nt/metadata.json\n", "")
    spec = json.loads((workdir / "t" / "scoreline.json").read_text())
    assert spec["defaultEnvironment"] == {"sdkContainerImage": IMAGE, "maxWorkers": 5}
    assert spec["metadata"] == json.loads((workdir / "t" / "metadata.json").read_text())
    checked = scoreline("template", "check", "t/scoreline.json")
    assert checked.code == 0
    assert IMAGE in checked.out


def test_build_refuses(scoreline: Scoreline) -> None:
    for words, said in (
        (["--output=t"], "the following arguments are required: --image"),
        (["--image=x:latest", "--output=t"], "--image"),
        ([f"--image={IMAGE}", "--output=t", "--job_name=x"], "whoever starts the template says it"),
        ([f"--image={IMAGE}", "--output=t", "more"], "unexpected 'more'"),
    ):
        ended = scoreline("template", "build", *words)
        assert ended.code == 2
        assert said in ended.err
    assert not Path("t").exists()


def test_check_says_what_does_not_fit(scoreline: Scoreline, workdir: Path) -> None:
    (workdir / "spec.json").write_text("{}")
    ended = scoreline("template", "check", "spec.json")
    assert ended.code == 2
    assert "scoreline: spec.json: image: expected an image such as" in ended.err


def test_run_prints_the_call(scoreline: Scoreline) -> None:
    ended = scoreline(*CALL, "--print", "--keep=id,plan", "--job_name=nightly", "--allow-pickle")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == (
        "gcloud dataflow flex-template run nightly \\\n"
        f"    --template-file-gcs-location={SPEC} \\\n"
        "    --project=shop \\\n"
        "    --region=europe-west4 \\\n"
        "    --parameters='input=gs://shop/in/*.parquet' \\\n"
        "    --parameters=model=gs://shop/churn.joblib \\\n"
        "    --parameters=output=gs://shop/scores \\\n"
        "    --parameters='^;^keep=id,plan' \\\n"
        "    --parameters=allow_pickle=true\n"
    )


def test_run_makes_the_call_that_it_prints(
    scoreline: Scoreline, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gcloud = workdir / "bin" / "gcloud"
    gcloud.parent.mkdir()
    gcloud.write_text('#!/bin/sh\nprintf "%s\\n" "$@" > called\nexit "${GCLOUD_EXIT:-0}"\n')
    gcloud.chmod(0o755)
    monkeypatch.setenv("PATH", str(gcloud.parent), prepend=os.pathsep)
    words = [*CALL, "--keep=a b,c", "--job_name=nightly"]
    ended = scoreline(*words)
    assert ended.code == 0
    printed = shlex.split(scoreline(*words, "--print").out.replace("\\\n", ""))
    assert ["gcloud", *(workdir / "called").read_text().splitlines()] == printed
    assert "gcloud dataflow flex-template run nightly" in ended.err
    monkeypatch.setenv("GCLOUD_EXIT", "3")
    assert scoreline(*words).code == 1


def test_run_without_gcloud(scoreline: Scoreline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    ended = scoreline(*CALL)
    assert ended.code == 2
    assert (
        "there is no gcloud on PATH. Install Google's Cloud SDK, or print the call with"
        in ended.err
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["template", "run", "spec.json", *NEEDED, "--region=r"],
            "expected the template's file at gs://",
        ),
        (["template", "run", SPEC, *NEEDED], "--region is needed, such as --region=europe-west4"),
        ([*CALL, "--update"], "--update needs --job_name"),
        ([*CALL, "--job_name=Nightly_Run"], "--job_name=Nightly_Run: expected small letters"),
        ([*CALL[:3], "--region=r", "--input=gs://b/x"], "expected model, output"),
        ([*CALL, "--input=gs://b/x"], "--input: a template takes one"),
        ([*CALL, "--limit=5"], "unknown flag --limit"),
        ([*CALL, "--types=id=int64"], "--types: --input names files"),
        (
            [*CALL[:4], CALL[4], "--output=pubsub://projects/p/topics/t", "--region=r"],
            "writes files",
        ),
        ([*CALL, "--max-dead-letter-ratio=2"], "expected a number from 0 to 1, got '2'"),
    ],
)
def test_run_refuses_before_anything_is_called(
    scoreline: Scoreline, words: list[str], said: str
) -> None:
    ended = scoreline(*words, "--print")
    assert (ended.code, ended.out) == (2, "")
    assert said in ended.err


def test_a_job_file_needs_nothing_else(scoreline: Scoreline) -> None:
    ended = scoreline(
        "template", "run", SPEC, "--job-file=gs://b/jobs/Fraud_v2.yaml", "--region=r", "--print"
    )
    assert ended.code == 0
    assert "gcloud dataflow flex-template run scoreline-fraud-v2-2" in ended.out
    assert "--parameters=job_file=gs://b/jobs/Fraud_v2.yaml" in ended.out


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("Churn 2.onnx", "churn-2"),
        ("_v1_.skops", "v1"),
        (f"{'long_' * 20}.pkl", "long-" * 5 + "long"),
    ],
)
def test_a_job_is_named_after_its_model_and_the_time(model: str, name: str) -> None:
    values = {"model": f"gs://b/models/{model}"}
    call = gcloud_call(SPEC, values, ["--region=r"], datetime(2026, 1, 31, 12, 5, tzinfo=UTC))
    assert call[4] == f"scoreline-{name}-20260131-120500"


def test_a_shell_reads_the_call_as_it_is() -> None:
    call = gcloud_call(
        SPEC,
        {"input": "gs://b/$x/*.csv", "keep": "it's,b"},
        ["--region=r", "--job_name=j", "--labels=a=b c"],
        datetime.now(UTC),
    )
    assert shlex.split(as_shell(call).replace("\\\n", "")) == call


def test_a_bucket_is_no_template() -> None:
    with pytest.raises(UsageError, match="expected the template's file"):
        gcloud_call("gs://bucket", {}, ["--region=r"], datetime.now(UTC))
