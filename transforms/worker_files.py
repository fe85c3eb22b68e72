"""What the worker processes of a run tell its launcher, and it them: small files in the run folder.

A runner gives no other way: Flink reports attempted counts as committed ones, and has no word for
a drain. Each worker replaces a file of its own; nothing here decides what becomes of a row.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .latencies import Latencies
from .processes import is_alive, this_process
from .storage import exists, join, list_files, read_json, remove, write_json, write_text
from .telemetry import DRAINED, OUTCOMES, STARTING, Snapshot

_FOLDER = "workers"
_DRAIN = "drain"
_STATES = ("starting", "pulling", "drained", "draining", "retrying")  # the last says most


@dataclass(frozen=True)
class WorkerFile:
    """What one worker process wrote last.

    Attributes:
        process: who it is, as `processes.this_process` says it.
        snapshot: how it is doing.
        problem: why it cannot work; empty if it can.
    """

    process: dict[str, Any]
    snapshot: Snapshot
    problem: str = ""

    @property
    def is_alive(self) -> bool:
        """Whether it still runs, as far as can be told from here."""
        return is_alive(self.process)


def write_worker(run_folder: str, snapshot: Snapshot, problem: str = "") -> None:
    """Replaces the file of this process."""
    process = this_process()
    name = f"{process['host']}-{process['pid']}-{process['pid_started']}.json"
    state = {"process": process, "problem": problem, "snapshot": _as_json(snapshot)}
    write_json(join(run_folder, _FOLDER, name), state)


def read_workers(run_folder: str) -> list[WorkerFile]:
    """What all worker processes of a run wrote last; none if none has said anything yet."""
    found = []
    for path in list_files(join(run_folder, _FOLDER)):
        if not path.endswith(".json"):
            continue
        try:
            state = read_json(path)
        except (OSError, json.JSONDecodeError):
            continue  # a store that shows a file before it is complete: the next look has it
        snapshot = _from_json(state["snapshot"])
        found.append(WorkerFile(state["process"], snapshot, state["problem"]))
    return found


def is_any_alive(run_folder: str) -> bool:
    """Whether a worker of a run still works for it, whatever became of its launcher."""
    return any(worker.is_alive for worker in read_workers(run_folder))


def are_drained(workers: Sequence[WorkerFile]) -> bool:
    """Whether all that read have done and acknowledged what they had, and pull no more.

    What those had that have ended is redelivered. A worker may have got no reader.
    """
    states = {worker.snapshot.state for worker in workers if worker.is_alive}
    return DRAINED in states and states <= {DRAINED, STARTING}


def ask_for_drain(run_folder: str) -> None:
    """Has the workers of a stream stop pulling, finish what they have, and end."""
    write_text(join(run_folder, _DRAIN), "")


def is_drain_asked_for(run_folder: str) -> bool:
    """Whether somebody asked for a drain of this run."""
    return exists(join(run_folder, _DRAIN))


def forget_drain(run_folder: str) -> None:
    """Takes the wish back, once the run has ended."""
    if is_drain_asked_for(run_folder):
        remove(join(run_folder, _DRAIN))


def merged(workers: Sequence[WorkerFile], elapsed_secs: float, at: float) -> Snapshot:
    """Turns what several workers say into what the run says; counts of dead workers stay.

    Args:
        workers: of one run.
        elapsed_secs: since the run began.
        at: now, in seconds since 1970.
    """
    all_of = [worker.snapshot for worker in workers]
    living = [worker.snapshot for worker in workers if worker.is_alive]
    oldest = [one.oldest_age_secs for one in living if one.oldest_age_secs is not None]
    state = max(living, key=_weight, default=None)
    return Snapshot(
        at=at,
        elapsed_secs=elapsed_secs,
        rows={outcome: sum(one.rows[outcome] for one in all_of) for outcome in OUTCOMES},
        sink_rows=_total([one.sink_rows for one in all_of]),
        codes=_total([one.codes for one in all_of]),
        examples={code: text for one in all_of for code, text in one.examples.items()},
        latency=_sum([one.latency for one in all_of]),
        messages_in_hand=sum(one.messages_in_hand for one in living),
        bytes_in_hand=sum(one.bytes_in_hand for one in living),
        oldest_age_secs=max(oldest, default=None),
        state=state.state if state else STARTING,
        reason=state.reason if state else "",
        model_version=next((one.model_version for one in all_of if one.model_version), ""),
    )


def _weight(snapshot: Snapshot) -> int:
    return _STATES.index(snapshot.state) if snapshot.state in _STATES else len(_STATES)


def _total(counts: Sequence[Any]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for each in counts:
        total.update(each)
    return dict(total)


def _sum(latencies: Sequence[Latencies]) -> Latencies:
    total = Latencies.none()
    for each in latencies:
        total = Latencies(
            total.counts + each.counts,
            total.total_secs + each.total_secs,
            min(total.low_secs, each.low_secs),
            max(total.high_secs, each.high_secs),
        )
    return total


def _as_json(snapshot: Snapshot) -> dict[str, Any]:
    latency = snapshot.latency
    bins = np.flatnonzero(latency.counts)
    return {
        "at": snapshot.at,
        "elapsed_secs": snapshot.elapsed_secs,
        "rows": dict(snapshot.rows),
        "sink_rows": dict(snapshot.sink_rows),
        "codes": dict(snapshot.codes),
        "examples": dict(snapshot.examples),
        "latency": {
            "bins": bins.tolist(),
            "counts": latency.counts[bins].tolist(),
            "total_secs": latency.total_secs,
            "low_secs": latency.low_secs if len(bins) else None,
            "high_secs": latency.high_secs,
        },
        "messages_in_hand": snapshot.messages_in_hand,
        "bytes_in_hand": snapshot.bytes_in_hand,
        "oldest_age_secs": snapshot.oldest_age_secs,
        "state": snapshot.state,
        "reason": snapshot.reason,
        "model_version": snapshot.model_version,
    }


def _from_json(state: dict[str, Any]) -> Snapshot:
    latency = state["latency"]
    counts = Latencies.none().counts.copy()
    counts[latency["bins"]] = latency["counts"]
    low_secs = np.inf if latency["low_secs"] is None else latency["low_secs"]
    found = Latencies(counts, latency["total_secs"], low_secs, latency["high_secs"])
    return Snapshot(**{**state, "latency": found})
