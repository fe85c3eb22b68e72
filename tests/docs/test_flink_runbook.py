"""Holds docs/flink.md against the runner profile, the template and the messages it quotes."""

import re
from pathlib import Path

import pytest
import yaml

from scoreline.pipelines.runner_profiles import RunnerProfile, profile_of

ROOT = Path(__file__).resolve().parents[2]
RUNBOOK = (ROOT / "docs" / "flink.md").read_text()
TEMPLATE = ROOT / "templates" / "flink"


def section(heading: str) -> str:
    _, found, after = RUNBOOK.partition(f"\n## {heading}\n")
    assert found, f"flink.md has no heading ## {heading}"
    return after.split("\n## ", 1)[0]


def settings(*flags: str) -> RunnerProfile:
    return profile_of(["--runner=FlinkRunner", *flags], is_stream=True, flink_version="1.19")


def test_every_setting_of_the_profile_is_explained_and_no_other() -> None:
    rows = re.findall(r"^\| `--(\w+)` \| (.+?) \|", section("What is set for you"), re.MULTILINE)
    explained = dict(rows)
    on_cluster = settings("--flink_master=jobmanager:8081")
    on_this_machine = settings("--flink_master=[local]")
    flags = {one.flag for one in (*on_cluster.settings, *on_this_machine.settings)}
    assert set(explained) == flags
    for flag in ("checkpointing_interval", "environment_type", "environment_config"):
        assert explained[flag].startswith(f"`{on_cluster.value(flag)}`")
    assert f"`{on_this_machine.value('environment_type')}` without" in explained["environment_type"]


@pytest.mark.parametrize(("secs", "millis"), [(0.001, 20), (60.0, 1_000)])
def test_the_limits_of_the_bundle_time(secs: float, millis: int) -> None:
    flags = ["--runner=FlinkRunner", "--flink_master=[local]"]
    profile = profile_of(flags, is_stream=True, max_latency_secs=secs)
    assert profile.value("max_bundle_time_mills") == str(millis)
    assert "from 20 to 1000, in a stream" in section("What is set for you")


def test_the_figures_are_those_of_the_template() -> None:
    conf = yaml.safe_load((TEMPLATE / "cluster" / "config.yaml").read_text())
    failures = " ".join(section("When it fails").split())
    assert f"nothing is heard of it for {conf['heartbeat.timeout'] // 1000} s" in failures
    backoff = "restart-strategy.exponential-delay."
    attempts = conf[f"{backoff}attempts-before-reset-backoff"]
    assert f"After {attempts} failures without ten good minutes" in failures
    assert conf[f"{backoff}reset-backoff-threshold"] == "10 min"
    assert "after 1, 2, 4, ... up to 60 seconds" in failures
    assert (conf[f"{backoff}initial-backoff"], conf[f"{backoff}max-backoff"]) == ("1 s", "1 min")
    assert f"on port {conf['metrics.reporter.prometheus.port']} of" in section("Watch it")
    pod = (TEMPLATE / "cluster" / "taskmanager.yaml").read_text()
    assert re.findall(r"tolerationSeconds: (\d+)", pod) == ["30", "30"]
    assert "replaced after half a minute" in failures


def test_the_files_of_the_template_are_listed() -> None:
    listed = set(re.findall(r"^\| `([\w./-]+)` \|", section("Deploy on Kubernetes"), re.MULTILINE))
    for path in listed:
        assert (TEMPLATE / path).is_file(), path
    files = {
        path.relative_to(TEMPLATE).as_posix()
        for folder in ("cluster", "job")
        for path in (TEMPLATE / folder).iterdir()
    }
    plumbing = {"cluster/kustomization.yaml", "job/kustomization.yaml"}
    assert files - listed - plumbing == {"cluster/log4j-console.properties"}


def test_the_messages_that_are_quoted_are_ours() -> None:
    modules = [*(ROOT / "pipelines").glob("*.py"), *(ROOT / "transforms").glob("*.py")]
    # Literals that continue on the next line read as one.
    source = re.sub(r'"\s+f?"', "", "\n".join(path.read_text() for path in modules))
    quoted = re.findall(r"^\| `((?:no|the) worker .+?)` \|", section("When it fails"), re.MULTILINE)
    assert len(quoted) == 4
    for message in quoted:
        for words in message.split("..."):
            assert words.strip() in source, message
