"""What tests of sudden ends share: how far a run has come, and whether an output is whole."""

import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Literal, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from running import NUMBERS, files_below
from sklearn.linear_model import LogisticRegression

BIG = 1_000_000
SMALL = 4_000
CLOSED = ("_SUCCESS", "commit.json", "job.yaml", "report.json")
WRECK = Path(__file__).parent / "wreck.py"


class Moment(NamedTuple):
    """When a command gets a signal: around the `count`-th call of a function.

    Only calls count that have `part` in one of their arguments.
    """

    where: str
    count: int = 1
    when: Literal["before", "after"] = "before"
    part: str = ""


Popen = subprocess.Popen[str]


def command(model: Path, *flags: str) -> list[str]:
    """The words of a command that scores in.parquet into out."""
    words = ["score", "--model", str(model), "--allow-pickle", "--input", "in.parquet"]
    return [*words, "--output", "out", *flags]


def wait_for_handlers(process: Popen) -> None:
    """Waits until a process catches SIGTERM, which Python by itself does not."""
    caught = 0
    while process.poll() is None and not caught & 1 << (signal.SIGTERM - 1):
        time.sleep(0.005)
        status = Path(f"/proc/{process.pid}/status").read_text()
        caught = int(re.search(r"SigCgt:\s*(\w+)", status)[1], 16)  # type: ignore[index]


def wait_for_run(process: Popen, output: Path) -> None:
    """Waits until a run has claimed its output."""
    before = set(output.glob("_run/*/heartbeat.json"))
    while process.poll() is None and not set(output.glob("_run/*/heartbeat.json")) - before:
        time.sleep(0.005)


def check_complete(output: Path, rows: int, model: LogisticRegression, dead: int = 0) -> None:
    """All rows exactly once, in order, as the model predicts them; and no debris."""
    scored = pq.read_table(output)
    source = pq.read_table(output.parent / "in.parquet").slice(dead)
    assert scored["id"].equals(source["id"])
    expected = model.predict(source.select(NUMBERS).to_pandas())
    assert pc.all(pc.equal(scored["prediction"], pa.array(expected.astype(object)))).as_py()
    left = [name for name in files_below(output) if not name.endswith(".parquet")]
    runs = len(list((output / "_run").iterdir()))
    assert sorted(left) == sorted(f"_run/RUN/{name}" for name in CLOSED * runs)
    assert scored.num_rows == rows - dead
