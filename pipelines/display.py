"""What a person sees of a run: notes, progress, the summary. All of it goes to stderr.

Only `--output-json` prints to stdout, so that a script can read it there.
"""

import json
import logging
import os
import shutil
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from scoreline.transforms.metrics import rows_so_far
from scoreline.transforms.telemetry import TELEMETRY, HasSnapshot

from .findings import findings_text
from .status import status_line
from .stdout import print_document
from .summary import summary

_REFRESH_SECS = 0.25
_PLAIN_SECS = 10.0  # how often a log gets a line of progress
_LIVE_SECS = 0.5
_LIVE_SNAPSHOTS = 21  # so what a terminal shows is about the last 10 s
_JOIN_SECS = 1.0


class Display:
    """Prints to a terminal or a log.

    Args:
        quiet: print errors only.
        as_json: print the report as JSON on stdout instead of a summary.
    """

    def __init__(self, *, quiet: bool = False, as_json: bool = False):
        self._quiet = quiet
        self._as_json = as_json
        self._is_terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def note(self, text: str) -> None:
        """Prints one line, unless quiet."""
        if not self._quiet:
            _print(text)

    def error(self, text: str) -> None:
        """Prints an error, however quiet."""
        _print(f"scoreline: {text}")

    def warning(self, message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        """Prints a warning of a library's in one line; in the form of `warnings.showwarning`."""
        self.note(f"{category.__name__}: {' '.join(str(message).split())}")

    @contextmanager
    def progress(self, total: int | None, *, is_seen: bool = True) -> Iterator[None]:
        """Shows rows, rows/s and time left while the block runs.

        Args:
            total: how many rows there are, if that is known.
            is_seen: whether they are read by this process, so that it can count them.
        """
        if self._quiet:
            yield
            return
        show = self._show_bar if self._is_terminal else self._show_lines
        with self._showing(show, total, is_seen):
            yield

    @contextmanager
    def stream_status(
        self, every_secs: float, telemetry: HasSnapshot = TELEMETRY
    ) -> Iterator[None]:
        """Shows how a stream is doing while the block runs.

        A terminal has one line that is kept up to date; a log gets a line now and then.

        Args:
            every_secs: how often a log gets one; what it says is about the time since the last.
            telemetry: of the process.
        """
        if self._quiet:
            yield
            return
        show = self._show_live_status if self._is_terminal else self._show_status_lines
        with self._showing(show, telemetry, every_secs):
            yield

    @contextmanager
    def _showing(self, show: Callable[..., None], *args: Any) -> Iterator[None]:
        self._stopped.clear()
        self._thread = threading.Thread(target=show, args=args, daemon=True)
        self._thread.start()
        try:
            yield
        finally:
            self.stop()

    def stop(self) -> None:
        """Ends the progress display, if there is one, and leaves the terminal as it was."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(_JOIN_SECS)

    def _show_bar(self, total: int | None, is_seen: bool) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            BarColumn(),
            TextColumn("{task.fields[rows]}"),
            TimeRemainingColumn(),
        )
        started, before = time.monotonic(), rows_so_far("read")
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            of = _rows(total)
            task = bar.add_task("score", total=total if is_seen else None, rows=of)
            while is_seen and not self._stopped.wait(_REFRESH_SECS):
                rows = rows_so_far("read") - before
                text = f"{_rows_of(rows, total)}  {rows / (time.monotonic() - started):,.0f} rows/s"
                bar.update(task, completed=rows, rows=text)
            self._stopped.wait()

    def _show_lines(self, total: int | None, is_seen: bool) -> None:
        started, before = time.monotonic(), rows_so_far("read")
        while not self._stopped.wait(_PLAIN_SECS):
            secs = time.monotonic() - started
            if not is_seen:
                self.note(f"scoring {_rows(total)} for {secs:,.0f} s")
                continue
            rows = rows_so_far("read") - before
            self.note(f"{_rows_of(rows, total)}, {rows / secs:,.0f} rows/s")

    def _show_live_status(self, telemetry: HasSnapshot, _every_secs: float) -> None:
        from rich.console import Console
        from rich.live import Live
        from rich.text import Text

        recent = deque([telemetry.snapshot()], maxlen=_LIVE_SNAPSHOTS)
        with Live(console=Console(stderr=True), transient=True, auto_refresh=False) as live:
            while not self._stopped.wait(_LIVE_SECS):
                recent.append(telemetry.snapshot())
                line = status_line(recent[-1], recent[0])
                live.update(Text(line), refresh=True)  # two lines where the terminal is narrow

    def _show_status_lines(self, telemetry: HasSnapshot, every_secs: float) -> None:
        before = telemetry.snapshot()
        while not self._stopped.wait(every_secs):
            now = telemetry.snapshot()
            self.note(status_line(now, before))
            before = now

    def summary(self, report: dict[str, Any]) -> None:
        """Prints the report: as JSON on stdout if asked for, and for a person unless quiet."""
        if self._as_json:
            print_document(json.dumps(report, indent=2))
        if self._quiet:
            return
        width = _width() if self._is_terminal else None
        color = self._is_terminal and not os.environ.get("NO_COLOR")
        _print(summary(report, width=width, color=color))

    def findings(self, found: dict[str, Any]) -> None:
        """Prints what a check found: as JSON on stdout if asked for, and for a person."""
        if self._as_json:
            print_document(json.dumps(found, indent=2))
        if not self._quiet:
            _print(findings_text(found))


class NoteHandler(logging.Handler):
    """Prints each record of a log as a note."""

    def __init__(self, display: Display):
        super().__init__()
        self._display = display

    def emit(self, record: logging.LogRecord) -> None:
        """Prints one record."""
        self._display.note(record.getMessage())


def _rows_of(rows: int, total: int | None) -> str:
    return f"{rows:,} rows" if total is None else f"{rows:,} of {total:,} rows"


def _rows(total: int | None) -> str:
    return "rows" if total is None else f"{total:,} rows"


def _width() -> int:
    """Of the terminal behind stderr; stdout may be a file."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns
    except OSError:
        return shutil.get_terminal_size().columns


def _print(text: str) -> None:
    with suppress(BrokenPipeError):  # whoever read our notes has gone; the run matters more
        print(text, file=sys.stderr, flush=True)  # noqa: T201
