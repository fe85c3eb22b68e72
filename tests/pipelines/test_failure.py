import errno
import os

import pytest

from scoreline.pipelines.failure import explain

REMOTE = """\
bundle inst004 stage-001 failed:Traceback (most recent call last):
  File "common.py", line 1, in process
    do()
OSError: [Errno 28] No space left on device

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "common.py", line 1512, in process
  File "common.py", line 1623, in _reraise_augmented
    raise new_exn
    ^^^^^^^^^^^^^
RuntimeError: OSError: [Errno 28] No space left on device [while running 'WriteParts/Write-p-9']
"""


def test_an_error_by_itself() -> None:
    assert explain(ValueError("no good"), "out") == "the run into out failed: ValueError: no good"
    assert explain(KeyError(), "out") == "the run into out failed: KeyError: KeyError()"


def test_an_error_as_beam_augments_it() -> None:
    error = ValueError("no good [while running 'Read/Read/ParDo(_ReadFn)']")
    assert explain(error, "out") == "the run into out failed in Read: ValueError: no good"


def test_an_error_that_beam_can_only_quote() -> None:
    """Its constructor takes no text; the cause still hangs on the exception."""
    with pytest.raises(RuntimeError) as caught:  # noqa: PT012
        try:
            raise OSError(errno.EACCES, os.strerror(errno.EACCES), "x")
        except OSError:
            raise RuntimeError(  # noqa: B904  as Beam does
                "PermissionError: [Errno 13] Permission denied: 'x' [while running 'Write/a']"
            )
    said = explain(caught.value, "out")
    assert said.startswith(
        "the run into out failed in Write: PermissionError: [Errno 13] Permission denied: 'x'\n"
    )
    assert "Check who may read --input and write to --output" in said


def test_a_traceback_of_another_process() -> None:
    assert explain(RuntimeError(REMOTE), "out") == (
        "the run into out failed in WriteParts: OSError: [Errno 28] No space left on device\n"
        "The disk is full: make room, or choose another --output."
    )


def test_a_traceback_without_frames() -> None:
    text = "Traceback (most recent call last):\nValueError: x"
    assert explain(RuntimeError(text), "out") == "the run into out failed: ValueError: x"


def test_a_runtime_error_of_its_own() -> None:
    assert (
        explain(RuntimeError("note: this"), "o")
        == "the run into o failed: RuntimeError: note: this"
    )


def test_the_cause_of_a_runtime_error() -> None:
    error = RuntimeError("pipeline failed")
    error.__cause__ = ValueError("no good [while running 'Predict/Score']")
    assert explain(error, "out") == "the run into out failed in Predict: ValueError: no good"


def test_a_cause_that_the_error_itself_explains_better() -> None:
    error = ValueError("cannot read x.parquet: see above")
    error.__cause__ = OSError("thrift")
    assert explain(error, "o").endswith("ValueError: cannot read x.parquet: see above")


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOSPC, "make room"),
        (errno.EDQUOT, "quota"),
        (errno.EFBIG, "ulimit -f"),
        (errno.EROFS, "read-only"),
        (errno.EPERM, "Check who may"),
    ],
)
def test_advice(number: int, advice: str) -> None:
    assert advice in explain(OSError(number, os.strerror(number)), "out")
