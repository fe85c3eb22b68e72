"""Run ids, and what becomes of a run that was interrupted or that failed.

The intent decides: a run that has one is rolled forward, by whoever comes next; a run that has none
is removed.
"""

import json
import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from scoreline.transforms.commit import HEARTBEAT, INTENT, REPORT, is_closed, roll_forward
from scoreline.transforms.final_tables import LOST
from scoreline.transforms.layout import FileLayout
from scoreline.transforms.processes import is_alive
from scoreline.transforms.storage import (
    exists,
    is_local,
    join,
    list_files,
    read_json,
    remove,
    remove_empty_folder,
    remove_folder,
    remove_scratch,
    remove_scratch_below,
    write_json,
)
from scoreline.transforms.worker_files import is_any_alive

from .dataflow_place import Place
from .errors import ExitCode, UsageError
from .failure import RunFailedError, explain
from .heartbeat import DATAFLOW_PLACE, Heartbeat
from .lock import locked


def new_run_id() -> str:
    """A name that sorts by time and is unlike any other."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"


@dataclass(frozen=True)
class Recovery:
    """What was found of interrupted runs.

    Attributes:
        report: of the same job, which was rolled forward; its output is complete.
        notes: what was done, for the user.
        run_ids: the run that each note is about.
    """

    report: dict[str, Any] | None
    notes: tuple[str, ...]
    run_ids: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Found:
    run_id: str
    run_folder: str
    heartbeat: dict[str, Any] | None

    @property
    def is_shared(self) -> bool:
        """Whether it is a stream."""
        return bool(self.heartbeat and self.heartbeat.get("is_shared"))

    @property
    def place(self) -> Place | None:
        """Where it runs, if it was sent to Dataflow."""
        found = (self.heartbeat or {}).get(DATAFLOW_PLACE)
        return Place.of_json(found) if found else None

    @property
    def is_alive(self) -> bool:
        """Whether its launcher lives, or a worker or a service that goes on without it."""
        if self.heartbeat is None:
            return False
        if self.place is not None:
            from .dataflow_service import is_running  # slow to import, and seldom needed

            return is_any_alive(self.run_folder) or is_running(self.place)
        return is_alive(self.heartbeat) or is_any_alive(self.run_folder)


def recover(layout: FileLayout, fingerprint: str, *, is_shared: bool = False) -> Recovery:
    """Finishes or removes what interrupted runs left at an output.

    Args:
        layout: of the output.
        fingerprint: of the job that is to write there.
        is_shared: whether that is a stream: it may write beside other streams.

    Raises:
        UsageError: another run is writing there now.
        RunFailedError: a run that had begun to make its output final cannot be completed now.
    """
    if not exists(layout.own_run_root) and is_local(layout.own_run_root):
        return Recovery(None, ())
    notes: dict[str, str] = {}
    report: dict[str, Any] | None = None
    with locked(layout.own_run_root):
        for found in _unfinished(layout):
            if _is_beside(found, is_shared=is_shared):
                continue
            _refuse_if_alive(layout, found)
            if found.is_shared:
                notes[found.run_id] = _close_stream(layout, found)
                continue
            intent = _read_intent(found.run_folder)
            notes[found.run_id] = _settle(layout, found, has_intent=intent is not None)
            if intent is not None and intent["fingerprint"] == fingerprint:
                report = read_json(join(found.run_folder, REPORT))
    remove_empty_folder(layout.own_run_root)
    return Recovery(report, tuple(notes.values()), tuple(notes))


def _is_beside(found: _Found, *, is_shared: bool) -> bool:
    """Whether both are streams and the other one lives: they do not meet."""
    return is_shared and found.is_shared and found.is_alive


def _close_stream(layout: FileLayout, found: _Found) -> str:
    """Removes the unfinished files of a stream that was killed, and says in its report that it was.

    What it counted last stays with its status files; its complete files have their names already.
    """
    own = layout.own_folder(found.run_id)
    staged = len(list_files(layout.staging(found.run_id)))
    remove_folder(layout.staging(found.run_id))
    for folder in (layout.output, layout.dead_letter_path):  # copies to another device than staged
        remove_scratch_below(folder, f"part-{found.run_id}-")
    if not exists(join(found.run_folder, REPORT)):
        # How a stream on Dataflow has ended the service knows: drained, updated or cancelled.
        code = None if found.place else ExitCode.FAILED
        report = {"run_id": found.run_id, "exit_code": code, "interrupted": True}
        write_json(join(found.run_folder, REPORT), report)
    remove(join(own, HEARTBEAT))
    remove_scratch(join(own, HEARTBEAT))
    remove_empty_folder(own)
    files = "1 unfinished file" if staged == 1 else f"{staged} unfinished files"
    if found.place:
        return f"run {found.run_id} has ended on Dataflow: {files} of it removed"
    return (
        f"run {found.run_id} was killed: {files} of it removed; what it had not acknowledged is "
        "redelivered"
    )


def _settle(layout: FileLayout, found: _Found, *, has_intent: bool) -> str:
    own = layout.own_folder(found.run_id)
    if is_closed(found.run_folder) and found.place:
        said = f"run {found.run_id} has ended on Dataflow; its report is in {found.run_folder}"
    elif is_closed(found.run_folder):
        said = f"run {found.run_id} had finished when it was interrupted: nothing was left to do"
    elif has_intent:
        _complete(layout, found)
        said = f"completed run {found.run_id}, which was interrupted while it made its output final"
    else:
        remove_folder(found.run_folder)
        remove_folder(own)
        return f"removed what run {found.run_id} left, which was interrupted before its end"
    remove(join(own, HEARTBEAT))
    remove_scratch(join(own, HEARTBEAT))
    remove_empty_folder(own)
    return said


def _complete(layout: FileLayout, found: _Found) -> None:
    try:
        roll_forward(found.run_folder)
    except Exception as error:  # whatever a disk or a service raised
        again = "the same command goes on where it stopped."
        if exists(join(found.run_folder, LOST)):
            again = "this run cannot be completed as it is, and no other one was started."
        raise RunFailedError(
            f"{explain(error, layout.output)}\nThat was run {found.run_id}, which was interrupted "
            f"while it made its output final: {again}"
        ) from error


def _unfinished(layout: FileLayout) -> list[_Found]:
    """Each run that has not ended, or whose process ended before it said so; oldest first."""
    root = join(layout.own_run_root, "")
    run_ids = {path.removeprefix(root).split("/")[0] for path in list_files(layout.own_run_root)}
    runs = []
    for run_id in sorted(run_ids):
        path = join(layout.own_folder(run_id), HEARTBEAT)
        heartbeat = read_json(path) if exists(path) else None
        run_folder = heartbeat["run_folder"] if heartbeat else layout.run_folder(run_id)
        if heartbeat is not None or not is_closed(run_folder):
            runs.append(_Found(run_id, run_folder, heartbeat))
    return runs


def _refuse_if_alive(layout: FileLayout, found: _Found) -> None:
    heartbeat = found.heartbeat
    if heartbeat is not None and found.is_alive:
        process = f"process {heartbeat['pid']} on {heartbeat['host']}"
        raise UsageError(
            f"run {found.run_id} is writing to {layout.output} now "
            f"({found.place.url if found.place else process}). Wait until it ends, or choose "
            "another --output."
        )


def _read_intent(run_folder: str) -> dict[str, Any] | None:
    """A run's intent; None if there is none, or what `_abandon` leaves in its place."""
    path = join(run_folder, INTENT)
    if not exists(path):
        return None
    try:
        return read_json(path)
    except json.JSONDecodeError:
        return None


class Claim:
    """A run's place at its output: nobody else may write there while it lives.

    Args:
        layout: where the run writes.
        run_id: the run's name.
        existing: the final files that were there when the user was told what would happen.
        is_shared: whether it is a stream: that adds to what is there, beside other streams.
    """

    def __init__(
        self, layout: FileLayout, run_id: str, existing: list[str], *, is_shared: bool = False
    ):
        self._is_shared = is_shared
        self._layout = layout
        self._run_id = run_id
        self._existing = existing
        self._heartbeat = Heartbeat(layout, run_id, is_shared=is_shared)
        self._made = _missing_folders(layout)

    def take(self) -> None:
        """Claims the output.

        Raises:
            UsageError: another run did so, or has changed what is there, since this one began.
        """
        with locked(self._layout.own_run_root):
            for found in _unfinished(self._layout):
                if not _is_beside(found, is_shared=self._is_shared):
                    _refuse_if_alive(self._layout, found)
            if not self._is_shared and self._layout.existing() != self._existing:
                raise UsageError(
                    f"another run has just changed {self._layout.output}. Choose another --output, "
                    "or give the command again."
                )
            self._heartbeat.start()

    def hand_over(self, place: Place) -> None:
        """Leaves the run to a job that goes on without this process."""
        self._heartbeat.hand_over(place.as_json())

    def release(self) -> None:
        """Ends a run that is complete."""
        self._heartbeat.stop()
        remove_empty_folder(self._layout.own_folder(self._run_id))
        remove_empty_folder(self._layout.own_run_root)

    def undo(self) -> str:
        """Removes what a run has left that cannot go on; says what is left of it."""
        own, folder = (
            self._layout.own_folder(self._run_id),
            self._layout.run_folder(self._run_id),
        )
        if is_closed(folder):
            self.release()
            return "the run had just finished: its output is complete."
        if not _abandon(folder):
            self._heartbeat.stop(leave=True)
            if exists(join(folder, LOST)):
                return (
                    "the run cannot be completed as it is: what can be done stands in "
                    f"{join(folder, LOST)}."
                )
            return (
                "its output is being made final: give the same command again, and it completes "
                "the run."
            )
        with suppress(OSError):  # what keeps the run from writing may keep us from removing
            self._heartbeat.stop()
        remove_folder(own)
        remove_folder(folder)
        for made in self._made:
            remove_empty_folder(made)
        return "nothing was made final; the same command starts anew."


class Claimed(Protocol):
    """Something that a run has for itself while it lives."""

    def take(self) -> None:
        """Claims it."""

    def hand_over(self, place: Place) -> None:
        """Leaves it to a job that goes on without this process."""

    def release(self) -> None:
        """Ends a run that is complete."""

    def undo(self) -> str:
        """Removes what a run has left that cannot go on; says what is left of it."""


class Claims:
    """All that a run claims.

    Args:
        claims: one for each output, of which the first has the run folder; then others, which are
            taken when the outputs are.
    """

    def __init__(self, claims: Sequence[Claimed]):
        self._claims = claims

    def take(self) -> None:
        """Claims all.

        Raises:
            UsageError: another run has one of them.
        """
        for claim in self._claims:
            claim.take()

    def hand_over(self, place: Place) -> None:
        """Leaves the run to a job that goes on without this process."""
        for claim in self._claims:
            claim.hand_over(place)

    def release(self) -> None:
        """Ends a run that is complete."""
        for claim in self._claims:
            claim.release()

    def undo(self) -> str:
        """Removes what a run has left that cannot go on; says what is left of it."""
        said = [claim.undo() for claim in self._claims]
        return said[0]


def _abandon(run_folder: str) -> bool:
    """Takes the place of a run's intent, so that none of its threads can still write one."""
    path = join(run_folder, INTENT)
    if not is_local(path):
        return not exists(path)
    try:
        Path(path).open("x").close()
    except FileExistsError:
        return False
    except OSError:  # no such folder yet, or no room
        return not exists(path)
    return True


def _missing_folders(layout: FileLayout) -> list[str]:
    """The local folders that a run will have to make, the deepest first."""
    roots = [Path(root) for root in (layout.own_run_root, layout.run_root) if is_local(root)]
    folders = dict.fromkeys(folder for root in roots for folder in (root, *root.parents))
    missing = [str(folder) for folder in folders if not folder.exists()]
    return sorted(missing, key=len, reverse=True)
