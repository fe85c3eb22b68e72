"""Turns the name of a file or model into its path, making it on first use.

Only the standard library is imported here and in everything that measures (see measure.py); the
heavy work happens in data.py, in a process of its own.
"""

import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

WORK = Path(__file__).parent / "work"
POISON_EVERY = 65_536  # one poison row in so many: one in every full batch
POISON_AT = 12_345  # its place among them: neither first, last nor on a halving point
BYTES_PER_ROW = 88  # 20 float32 columns that do not compress, and a little for the rest

_INPUTS = WORK / "inputs-1"  # count up when data.py writes something else under the same names
_MAKE_SECS = 1800


def rows_file(kind: str, num_rows: int) -> Path:
    """Returns a Parquet file of `num_rows` rows of a kind that data.py knows."""
    path = _INPUTS / f"{kind}-{num_rows}.parquet"
    if not path.exists():
        need_disk(num_rows * BYTES_PER_ROW)
        _make("rows", kind, str(num_rows), str(path))
    return path


def model_file(name: str) -> Path:
    """Returns a joblib file with a fitted model that data.py knows."""
    path = _INPUTS / f"{name}-sklearn-{version('scikit-learn')}.joblib"
    if not path.exists():
        _make("model", name, str(path))
    return path


def poison_rows(num_rows: int) -> int:
    """Returns how many rows of a poisoned file of `num_rows` rows are poison.

    >>> poison_rows(65_536), poison_rows(65_536 + 12_346)
    (1, 2)
    """
    return len(range(POISON_AT, num_rows, POISON_EVERY))


def need_disk(num_bytes: int) -> None:
    """Raises OSError unless the work folder's disk has `num_bytes` free and 1 GiB to spare."""
    WORK.mkdir(exist_ok=True)
    free = shutil.disk_usage(WORK).free
    if free < num_bytes + 2**30:
        raise OSError(
            f"{WORK} has {free / 2**30:.1f} GiB free and {num_bytes / 2**30 + 1:.1f} are needed. "
            "Free some, or leave the large row out with --only."
        )


def make(program: str, *arguments: str) -> None:
    """Runs a program of this folder that makes inputs."""
    argv = [sys.executable, str(Path(__file__).with_name(program)), *arguments]
    subprocess.run(argv, check=True, timeout=_MAKE_SECS)


def _make(*arguments: str) -> None:
    _INPUTS.mkdir(parents=True, exist_ok=True)
    make("data.py", *arguments)
