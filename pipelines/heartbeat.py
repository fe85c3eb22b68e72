"""Shows that a run lives: a small file beside its staged parts, written again and again."""

import threading
from contextlib import suppress
from typing import Any

from scoreline.transforms.commit import HEARTBEAT
from scoreline.transforms.layout import FileLayout
from scoreline.transforms.processes import this_process
from scoreline.transforms.storage import absolute, join, remove, remove_scratch, write_json

DATAFLOW_PLACE = "dataflow"  # where a run goes on that was sent to Dataflow
_BEAT_SECS = 10.0


class Heartbeat:
    """The heartbeat of one run, from `start` to `stop`.

    Args:
        layout: where the run writes.
        run_id: the run's name.
        is_shared: whether others may write there at the same time, as streams may.
    """

    def __init__(self, layout: FileLayout, run_id: str, *, is_shared: bool = False):
        self._is_shared = is_shared
        self._path = join(layout.own_folder(run_id), HEARTBEAT)
        self._run_id = run_id
        self._run_folder = absolute(layout.run_folder(run_id))
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="scoreline-heartbeat", daemon=True)

    def start(self) -> None:
        """Writes the first beat, then goes on in a thread."""
        self._write(this_process())
        self._thread.start()

    def stop(self, *, leave: bool = False) -> None:
        """Ends the beat and removes the file, or leaves one that says that the run is dead."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()
        if not leave:
            remove(self._path)
            remove_scratch(self._path)
            return
        with suppress(OSError):  # what wants to be told may be a full disk; the process ends anyway
            self._write({**this_process(), "pid_started": None, "at": 0})

    def hand_over(self, place: dict[str, Any]) -> None:
        """Ends the beat, and leaves the file to a job that goes on without this process.

        Args:
            place: where the job runs: the service there says whether it lives.
        """
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()
        self._write({**this_process(), DATAFLOW_PLACE: place})

    def _beat(self) -> None:
        while not self._stopped.wait(_BEAT_SECS):
            with suppress(OSError):  # a disk that is full for a moment
                self._write(this_process())

    def _write(self, process: dict[str, Any]) -> None:
        run = {
            "run_id": self._run_id,
            "run_folder": self._run_folder,
            "is_shared": self._is_shared,
        }
        write_json(self._path, run | process)
