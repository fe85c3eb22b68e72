"""What a person sees of a run: notes, progress, the summary. All of it goes to stderr.

Only `--output-json` prints to stdout, so that a script can read it there.
"""

import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from scoreline.transforms.metrics import rows_so_far

_REFRESH_SECS = 0.25
_PLAIN_SECS = 10.0  # how often a log gets a line of progress


class Display:
    """Prints to a terminal or a log.

    Args:
        quiet: print errors only.
        as_json: print the report as JSON on stdout instead of a summary.
    """

    def __init__(self, *, quiet: bool = False, as_json: bool = False):
        self._quiet = quiet
        self._as_json = as_json
        self._is_terminal = sys.stderr.isatty()

    def note(self, text: str) -> None:
        """Prints one line, unless quiet."""
        if not self._quiet:
            print(text, file=sys.stderr)  # noqa: T201

    def error(self, text: str) -> None:
        """Prints an error, however quiet."""
        print(f"scoreline: {text}", file=sys.stderr)  # noqa: T201

    @contextmanager
    def progress(self, total: int) -> Iterator[None]:
        """Shows rows, rows/s and time left while the block runs."""
        if self._quiet:
            yield
            return
        stopped = threading.Event()
        show = self._show_bar if self._is_terminal else self._show_lines
        thread = threading.Thread(target=show, args=(total, stopped), daemon=True)
        thread.start()
        try:
            yield
        finally:
            stopped.set()
            thread.join()

    def _show_bar(self, total: int, stopped: threading.Event) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            BarColumn(),
            TextColumn("{task.completed:,.0f} of {task.total:,.0f} rows"),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
        )
        started, before = time.monotonic(), rows_so_far("read")
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("score", total=total, rate="")
            while not stopped.wait(_REFRESH_SECS):
                rows = rows_so_far("read") - before
                rate = rows / (time.monotonic() - started)
                bar.update(task, completed=rows, rate=f"{rate:,.0f} rows/s")

    def _show_lines(self, total: int, stopped: threading.Event) -> None:
        started, before = time.monotonic(), rows_so_far("read")
        while not stopped.wait(_PLAIN_SECS):
            rows = rows_so_far("read") - before
            rate = rows / (time.monotonic() - started)
            self.note(f"{rows:,} of {total:,} rows, {rate:,.0f} rows/s")

    def summary(self, report: dict[str, Any]) -> None:
        """Prints the report: as JSON on stdout if asked for, otherwise for a person."""
        if self._as_json:
            print(json.dumps(report, indent=2))  # noqa: T201
        if self._quiet:
            return
        from rich.console import Console

        from .summary import summary_table

        console = Console(stderr=True, highlight=False, soft_wrap=not self._is_terminal)
        console.print(summary_table(report))
