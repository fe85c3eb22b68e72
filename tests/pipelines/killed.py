"""Commands, in processes of their own, that are killed at a chosen moment."""

import json
import signal
import subprocess
import sys
from pathlib import Path

WRECK = Path(__file__).parents[1] / "crash/wreck.py"


def kill(where: str, *words: str) -> None:
    """Runs a command that gets a kill -9 at a moment, such as `package.function 2 before`."""
    function, count, when = where.split()
    mishap = {"where": function, "count": int(count), "when": when}
    request = {
        "folder": str(Path.cwd()),
        "words": words,
        "err": "stderr.txt",
        "mishap": {"number": signal.SIGKILL, "part": "", **mishap},
    }
    process = subprocess.run(
        [sys.executable, WRECK], input=json.dumps(request) + "\n", stdout=subprocess.PIPE, text=True
    )
    err = Path("stderr.txt")
    assert int(process.stdout) == -signal.SIGKILL, err.read_text()
    err.unlink()
