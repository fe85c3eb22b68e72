"""A file is read in a process of its own: what that process dies of is an error here."""

from dataclasses import replace
from typing import Any

import pytest
from sklearn.linear_model import LogisticRegression
from sklearn_models import classes, numbers, pickled

from scoreline.models import ContractError, ModelError, Trust, UntrustedModelError, probe
from scoreline.models.estimator_format import PICKLE
from scoreline.models.probe import describe_apart, load_apart
from scoreline.models.registry import format_of

FRAME = numbers()
ARTIFACT = pickled(LogisticRegression().fit(FRAME, classes(FRAME)))
PICKLES = Trust(allow_pickle=True)


class Ending:
    """A pickle that does something to the process that loads it."""

    def __init__(self, code: str):
        self.code = code

    def __reduce__(self) -> Any:
        return exec, (self.code,)


def load(artifact: Any, trust: Trust = PICKLES, features: Any = None) -> None:
    load_apart(PICKLE, artifact, trust, ("predict",), features)


def test_a_good_file_passes():
    load(ARTIFACT)
    assert describe_apart(PICKLE, ARTIFACT) == PICKLE.describe(ARTIFACT)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "(SIGSEGV)"),
        ("import os; os.abort()", "(SIGABRT)"),
        ("import os; os._exit(7)", "(exit code 7)"),
        ("import sys; print('no licence', file=sys.stderr); raise SystemExit(3)", ": no licence)"),
    ],
)
def test_a_process_that_ends_is_an_error_here(code: str, words: str):
    with pytest.raises(ModelError) as raised:
        load(pickled(Ending(code)))
    assert "model models/churn.joblib crashes the library that reads it" in str(raised.value)
    assert words in str(raised.value)
    assert "nothing of it was loaded here" in str(raised.value)


def test_a_process_that_hangs_is_an_error_here(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(probe, "_MAX_SECS", 4.0)
    with pytest.raises(ModelError, match="was not read within 4 s"):
        load(pickled(Ending("while True: pass")))


def test_a_process_that_fills_the_memory_is_an_error_here(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(probe, "_max_bytes", lambda _: 4 * 2**30)
    with pytest.raises(ModelError, match="takes more than 4,294,967,296 bytes of memory to read"):
        load(pickled(Ending("bytearray(2**33)")))


def test_what_a_library_prints_is_no_answer():
    noisy = pickled(Ending('print(\'{"error": null, "result": {}}\')'))
    with pytest.raises(ModelError, match="is no estimator: it holds a NoneType"):
        load(noisy)


def test_errors_of_ours_come_back_as_they_are():
    with pytest.raises(UntrustedModelError, match="is a pickle"):
        load(ARTIFACT, Trust())
    with pytest.raises(ContractError, match="was trained on the columns"):
        load(ARTIFACT, features=("x",))
    damaged = replace(ARTIFACT, data=ARTIFACT.data[:-30])
    with pytest.raises(ModelError, match="The file may be cut short"):
        load(damaged)


def test_no_process_can_be_started(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(probe.sys, "executable", "/nowhere/python")
    with pytest.raises(ModelError, match="cannot start a process to read model"):
        describe_apart(format_of(ARTIFACT), ARTIFACT)
