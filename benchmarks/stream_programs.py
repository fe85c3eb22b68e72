"""Turns a program's name into the command that scores a stream, and the commands around it.

All three score the same messages with the same model, and publish the same fields: `tx_id`, `sent`,
`prediction`, `row_id` and `model_version`.
"""

import sys
import sysconfig
from pathlib import Path

from fresh_emulator import INPUT, OUTPUT_TOPIC, Emulator
from inputs import model_file
from measure import Command

PROGRAMS = ("scoreline", "stream-loop", "stock-stream")
PULL_THREADS = 4

_HERE = Path(__file__).parent
_SCORELINE = str(Path(sysconfig.get_path("scripts")) / "scoreline")
_KEEP = ("--keep", "tx_id,sent")


def stream(
    program: str, emulator: Emulator, folder: Path, *more: str, pull_threads: int = PULL_THREADS
) -> Command:
    """Turns a program into its command; `more` are arguments for the program.

    Args:
        program: one of PROGRAMS.
        emulator: where its messages come from and go to.
        folder: for what it writes beside them.
        more: further arguments.
        pull_threads: how many pull at a time.
    """
    pull = ("--pull-threads", str(pull_threads))
    argv = {
        "scoreline": lambda: (_SCORELINE, *score_words(folder), *pull),
        "stream-loop": lambda: (*script("stream_loop.py"), *_ends(INPUT, OUTPUT_TOPIC), *pull),
        "stock-stream": lambda: (*script("stock_stream.py"), *_ends(INPUT, OUTPUT_TOPIC)),
    }[program]()
    return Command(program, (*argv, *more), environment=emulator.environment)


def score_words(folder: Path) -> tuple[str, ...]:
    """Returns the words of scoreline's command line."""
    ends = _ends(f"pubsub://{INPUT}", f"pubsub://{OUTPUT_TOPIC}")
    types = ("--input-format", "json", "--types", "tx_id=int64,sent=double")
    left = ("--dead-letters", str(folder / "dead_letters"), "--report", str(folder / "runs"))
    return ("score", "--allow-pickle", *ends, *types, *left)


def bundles(emulator: Emulator, folder: Path, *more: str) -> Command:
    """Returns the command that counts scoreline's bundles in `folder / "bundles.txt"`."""
    counted = script("bundles.py", str(folder / "bundles.txt"))
    argv = (*counted, *score_words(folder), *more)
    return Command("scoreline", argv, environment=emulator.environment)


def script(file: str, *words: str) -> tuple[str, ...]:
    """Returns the words that run a program of this folder."""
    return (sys.executable, str(_HERE / file), *words)


def _ends(source: str, target: str) -> tuple[str, ...]:
    model = str(model_file("logistic"))
    return ("--model", model, "--input", source, "--output", target, *_KEEP)
