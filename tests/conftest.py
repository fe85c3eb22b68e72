"""Fixtures of whole commands: a model, and ways to run the command line."""

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from emulator import Emulator, emulator_fixture
from hypothesis import HealthCheck, settings
from places import Places
from running import NUMBERS, Ended, numbers
from sklearn.linear_model import LogisticRegression

# A shell ignores SIGINT for what it starts in the background, and children inherit that: then a
# command under test would rightly ignore it, too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# How long one example takes says more of how busy the machine is than of the code.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")


@pytest.fixture(scope="session")
def classifier() -> LogisticRegression:
    """A classifier of the columns of `numbers`, with the classes no and yes."""
    frame = numbers(500, seed=1).select(NUMBERS).to_pandas()
    return LogisticRegression().fit(frame, np.where(frame.a + frame.b > 0, "yes", "no"))


@pytest.fixture(scope="session")
def classifier_file(classifier: LogisticRegression, tmp_path_factory: Any) -> Path:
    path: Path = tmp_path_factory.mktemp("models") / "churn.joblib"
    joblib.dump(classifier, path)
    return path


@pytest.fixture(scope="session")
def emulator() -> Iterator[Emulator]:
    """A Pub/Sub emulator, one for each worker; tests make topics of their own."""
    yield from emulator_fixture()


@pytest.fixture
def places(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[Places]:
    """Topics of its own on the emulator, which is the service of this process.

    A stream that ends waits less for its last pulls here: nothing comes any more.
    """
    from scoreline.transforms import pubsub_client, pubsub_source, puller

    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", emulator.address)
    monkeypatch.setattr(puller, "_LAST_PULLS_SECS", 0.1)
    monkeypatch.setattr(pubsub_source, "_IDLE_SECS", 0.1)
    pubsub_client.client.cache_clear()
    yield Places(emulator.client)
    pubsub_client.client.cache_clear()


@pytest.fixture
def workdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that a command runs in: relative paths start here."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def scoreline(workdir: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """Runs the command line in this process, in `workdir`."""
    from scoreline.pipelines.cli import main

    def run(*words: str | os.PathLike[str]) -> Ended:
        capsys.readouterr()
        code = main([os.fspath(word) for word in words])
        out, err = capsys.readouterr()
        return Ended(code, out, err)

    return run


@pytest.fixture
def score(scoreline: Callable[..., Ended], classifier_file: Path) -> Callable[..., Ended]:
    """Runs `scoreline score`, by default with the classifier, from in.parquet to out."""

    def run(
        *flags: str,
        model: str | os.PathLike[str] = classifier_file,
        input: str | os.PathLike[str] | Sequence[str] = "in.parquet",  # noqa: A002  as the flag
        output: str | os.PathLike[str] = "out",
        trust: str = "--allow-pickle",
    ) -> Ended:
        inputs = [input] if isinstance(input, str | os.PathLike) else input
        named = [word for path in inputs for word in ("--input", os.fspath(path))]
        words = ["score", "--model", os.fspath(model), *named, "--output", os.fspath(output)]
        return scoreline(*words, *([trust] if trust else []), *flags)

    return run
