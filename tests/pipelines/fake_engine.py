"""A runner that only pretends: what its job does is set by the test."""

import threading
from collections.abc import Callable
from typing import Any

from apache_beam.runners.runner import PipelineRunner


class FakeResult:
    """A job that runs until it is told to end.

    Attributes:
        cancelled: whether somebody asked for its end.
        ends: what `wait_until_finish` does when the job is over.
    """

    def __init__(self, ends: Callable[[], Any]):
        self.cancelled = False
        self.ends = ends
        self.over = threading.Event()

    def wait_until_finish(self) -> Any:
        """Waits for the end; a job that nobody ends is a test that fails."""
        assert self.over.wait(20)
        return self.ends()

    def cancel(self) -> None:
        """Ends it."""
        self.cancelled = True
        self.over.set()


class FakeRunner(PipelineRunner):
    """Named `fake_engine.FakeRunner`; `submit` says what becomes of a pipeline."""

    submit: Callable[[], Any] = staticmethod(lambda: None)

    def run_pipeline(self, pipeline: Any, options: Any) -> Any:
        """Pretends to send it away."""
        return type(self).submit()
