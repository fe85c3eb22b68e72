"""Turns a command line of scoreline's into the same with short bundles, which it counts.

::

    python benchmarks/bundles.py counts.txt score --model m.joblib ...

A stream into a topic holds a bundle open for a second and no flag changes that: here a bundle ends
with its first batch, so that a day's bundles go by in minutes. Each second the file gets a line:
how many bundles Beam's in-process runner has run so far, the resident memory of the process in
bytes, and its own memory.
"""

import sys
import threading
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

from apache_beam.runners.portability.fn_api_runner.fn_runner import BundleManager

from scoreline.pipelines import stream_preflight
from scoreline.pipelines.cli import console

_EVERY_SECS = 1.0
_BUNDLE_SECS = 0.001


def memory_bytes() -> tuple[int, int]:
    """Returns the resident memory of this process, and its own memory, resident or swapped.

    The resident memory has pages of libraries, too, which the kernel drops and reads again as it
    likes: by megabytes a minute on some machines. What leaks is the other.
    """
    status = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    sizes = (int(status[name].split()[0]) * 1024 for name in ("VmRSS", "RssAnon", "VmSwap"))
    resident, anonymous, swapped = sizes
    return resident, anonymous + swapped


def counted(run: Callable[..., Any], bundles: list[int]) -> Callable[..., Any]:
    """Turns the function that runs a bundle into one that counts its calls in `bundles[0]`."""
    numbers = count(1)

    def run_and_count(*args: Any, **kwargs: Any) -> Any:
        bundles[0] = next(numbers)
        return run(*args, **kwargs)

    return run_and_count


def write_counts(path: Path, bundles: list[int]) -> None:
    """Appends a line each second, for ever."""
    with path.open("a", buffering=1) as file:
        while True:
            file.write(" ".join(map(str, (bundles[0], *memory_bytes()))) + "\n")
            time.sleep(_EVERY_SECS)


def main() -> None:
    """Counts and runs the command line."""
    path, words = Path(sys.argv[1]), sys.argv[2:]
    bundles = [0]
    BundleManager.process_bundle = counted(BundleManager.process_bundle, bundles)
    assert stream_preflight._FLUSH_SECS == 1.0, "what decides how long a bundle is held open?"
    stream_preflight._FLUSH_SECS = _BUNDLE_SECS
    threading.Thread(target=write_counts, args=(path, bundles), daemon=True).start()
    sys.argv = ["scoreline", *words]
    console()


if __name__ == "__main__":
    main()
