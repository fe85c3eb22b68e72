"""The command line itself: what needs no job, and what it costs."""

import json
import logging
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from running import Ended, numbers, write

from scoreline import __version__
from scoreline.pipelines import cli, launch
from scoreline.pipelines.flags import score_parser
from scoreline.pipelines.job import make_job
from scoreline.pipelines.job_file import read_job_values

Score = Callable[..., Ended]


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"], ["help"]])
def test_help_shows_a_first_command(scoreline: Score, words: list[str]) -> None:
    ended = scoreline(*words)
    assert ended.code == 0
    assert "scoreline score --model churn.joblib --allow-pickle" in ended.out
    assert ended.err == ""


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_of_score_names_every_flag(scoreline: Score, flag: str) -> None:
    ended = scoreline("score", "--model", "m", flag)
    assert ended.code == 0
    for action in score_parser()._actions:
        assert action.option_strings[-1] in ended.out
    assert "exit codes" in ended.out


def test_version(scoreline: Score) -> None:
    assert scoreline("--version") == Ended(0, f"scoreline {__version__}\n", "")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["scroe"], "unknown command 'scroe'; did you mean score? Expected one of: score"),
        (["train"], "unknown command 'train'. Expected one of: score"),
        (["score"], "the following arguments are required: --input, --output, --model"),
        (["score", "--model", "m", "--modle", "n"], "unknown flag --modle. Did you mean --model?"),
    ],
)
def test_usage_errors(scoreline: Score, words: list[str], said: str) -> None:
    ended = scoreline(*words)
    assert ended.code == 2
    assert said in ended.err
    assert ended.err.startswith("scoreline: ")


IN, OUT = "pubsub://projects/p/subscriptions/tx", "pubsub://projects/p/topics/scores"
FILES_ONLY = "--input names a subscription; {} is for what reads stored data"
MESSAGES_ONLY = "--input names files; {} is for what reads a subscription"


@pytest.mark.parametrize(
    ("input_", "flags", "said"),
    [
        (IN, ["--limit", "3"], f"--limit: {FILES_ONLY.format('--limit')}"),
        (IN, ["--columns", "a"], f"--columns: {FILES_ONLY.format('--columns')}"),
        (IN, ["--input", "more"], "--input: a subscription is the only input; score the others"),
        (IN, ["--input-format", "parquet"], "source.format: expected 'json', 'csv', 'avro' or"),
        (IN, ["--overwrite"], "--overwrite: a stream adds to what is there; leave the flag out"),
        (IN, ["--types", "a"], "--types: expected COLUMN=TYPE with commas between, got 'a'"),
        (IN, ["--types", "a=text"], "source.types: expected one of string, int64"),
        (IN, ["--flush-secs", "0"], "--flush-secs: expected seconds, more than 0, got '0'"),
        (IN, ["--flush-secs", "inf"], "--flush-secs: expected seconds, more than 0, got 'inf'"),
        (IN, ["--deduplicate-secs", "5"], "--deduplicate-secs: --deduplicate-by is missing; "),
        (IN, ["--pull-threads", "0"], "--pull-threads: expected a whole number from 1 on, got"),
        (IN, ["--metrics-port", "99999"], "--metrics-port: expected a port from 0 to 65535"),
        (f"{IN}/x", [], "source.subscription: expected projects/PROJECT/subscriptions/NAME, got"),
        (OUT, [], "got 'projects/p/topics/scores'"),
        *(
            ("in.parquet", [flag, value], f"{flag}: {MESSAGES_ONLY.format(flag)}")
            for flag, value in (
                ("--types", "a=int64"),
                ("--avro-schema", "s"),
                ("--attributes", "a"),
                ("--message-id-column", "a"),
                ("--publish-time-column", "a"),
                ("--deduplicate-by", "a"),
                ("--deduplicate-secs", "600"),
                ("--max-latency-secs", "0.1"),
                ("--flush-secs", "1"),
                ("--stop-when-idle-secs", "1"),
                ("--pull-threads", "4"),
            )
        ),
        ("in.parquet", ["--metrics-port", "0"], "--metrics-port: the job reads stored data"),
        ("in.parquet", ["--status-secs", "10"], "--status-secs: the job reads stored data"),
        ("in.parquet", ["--input-format", "raw"], "source.format: expected 'parquet', 'json'"),
        (
            "in.parquet",
            ["--dead-letters", OUT],
            "dead_letters: a job that reads stored data writes",
        ),
    ],
)
def test_what_does_not_go_with_an_input(
    score: Score, workdir: Path, input_: str, flags: list[str], said: str
) -> None:
    ended = score(*flags, input=input_)
    assert ended.code == 2
    assert said in ended.err
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("input_", "flags", "said"),
    [
        (IN, [], "report: a topic has no folder for what a run leaves: give --report FOLDER"),
        (IN, ["--report", "r"], "a topic has no folder for rejected rows: give --dead-letters"),
        (IN, ["--output-format", "csv"], "--output-format csv: a message is one JSON object"),
        ("in.parquet", [], "sinks.0: a job that reads stored data writes files or tables"),
    ],
)
def test_what_a_topic_as_output_needs(
    score: Score, workdir: Path, input_: str, flags: list[str], said: str
) -> None:
    ended = score(*flags, input=input_, output=OUT)
    assert ended.code == 2
    assert said in ended.err


def test_the_job_file_that_a_streams_flags_stand_for(score: Score, workdir: Path) -> None:
    flags = ["--types", "id=int64", "--rename", "A=a", "--attributes", "region", "--keep", "id"]
    flags += ["--message-id-column", "mid", "--publish-time-column", "at", "--flush-secs", "5"]
    flags += ["--deduplicate-by", "id", "--max-latency-secs", "0.2", "--dead-letters", OUT]
    ended = score(*flags, "--print-job", input=IN)
    assert ended.code == 0, ended.err
    job = yaml.safe_load(ended.out)
    assert job["source"] | {"csv": None} == {
        "type": "pubsub",
        "subscription": "projects/p/subscriptions/tx",
        "format": "json",
        "types": {"id": "int64"},
        "rename": {"A": "a"},
        "csv": None,
        "avro_schema": None,
        "attributes": ["region"],
        "message_id": "mid",
        "publish_time": "at",
        "id_label": None,
        "deduplicate_by": "id",
        "deduplicate_secs": 600.0,
        "stop_when_idle_secs": None,
        "pull_threads": 4,
        "max_messages_in_hand": 20_000,
        "max_bytes_in_hand": 64 * 2**20,
        "max_lease_secs": 600.0,
    }
    assert job["sinks"][0]["flush_secs"] == 5
    assert job["max_latency_secs"] == 0.2
    assert job["dead_letters"]["topic"] == "projects/p/topics/scores"
    Path("job.yaml").write_text(ended.out)
    assert make_job(read_job_values("job.yaml").values).is_stream


@pytest.mark.parametrize("words", [["--help"], ["score", "--help"], ["--version"], ["score"]])
def test_what_needs_no_beam_does_not_import_it(words: list[str]) -> None:
    script = (
        "import sys; from scoreline.pipelines.cli import main; main(sys.argv[1:]); "
        "print([name for name in ('apache_beam', 'pyarrow', 'numpy', 'sklearn', 'rich') "
        "if name in sys.modules])"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script, *words], capture_output=True, text=True, check=True
    )
    assert ended.stdout.rstrip().endswith("[]")


def test_stdout_holds_one_document_in_a_process_of_its_own(
    workdir: Path, classifier_file: Path
) -> None:
    """With the handlers, the exit and the streams as a shell's user has them."""
    write(workdir / "in.parquet", numbers(5))
    words = ["--model", str(classifier_file), "--allow-pickle", "--output-json"]
    ended = subprocess.run(
        [
            *(sys.executable, "-m", "scoreline", "score", *words),
            *("--input", "in.parquet", "--output", "out"),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(ended.stdout)["rows"]["read"] == 5
    assert "predicted     5" in ended.stderr


def test_main_leaves_the_process_as_it_was(score: Score, workdir: Path) -> None:
    write(workdir / "in.parquet", numbers(5))
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    level, shown = logging.getLogger().level, warnings.showwarning
    assert score().code == 0
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    assert logging.getLogger().level == level
    assert warnings.showwarning is shown


def test_beams_log_can_be_had(score: Score, workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    levels: list[int] = []

    def note_level(*args: Any, **kwargs: Any) -> None:
        levels.append(logging.getLogger().level)
        raise OSError("enough")

    write(workdir / "in.parquet", numbers(5))
    monkeypatch.setattr(launch, "_run_pipeline", note_level)
    score()
    score("--default_sdk_harness_log_level=DEBUG")
    assert levels == [logging.CRITICAL, logging.getLogger().level]


def test_ctrl_c_in_somebody_elses_program(
    score: Score, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*args: Any, **kwargs: Any) -> None:
        raise KeyboardInterrupt

    write(workdir / "in.parquet", numbers(5))
    monkeypatch.setattr(launch, "_run_pipeline", interrupt)
    ended = score()
    assert ended.code == 130
    assert "nothing was made final" in ended.err
    assert not Path("out").exists()


def test_an_error_before_anything_started(
    score: Score, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise ValueError("out of order")

    monkeypatch.setattr(launch, "check", fail)
    ended = score()
    assert ended.code == 1
    assert ended.err == (
        "scoreline: the run into out failed: ValueError: out of order\nNothing was started.\n"
    )


def test_console_ends_the_process_with_mains_code(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone:
        def flush(self) -> None:
            raise BrokenPipeError

    codes: list[int] = []
    monkeypatch.setattr(cli, "main", lambda argv=None: 3)
    monkeypatch.setattr(cli, "end_on_signals", lambda: None)
    monkeypatch.setattr(os, "_exit", codes.append)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", Gone())
        cli.console()
    assert codes == [3]
