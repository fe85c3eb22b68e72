"""Turns the arrays of collect.py into figures, as one line of JSON.

::

    python benchmarks/figures.py rate arrays.npz               # scored and published, per second
    python benchmarks/figures.py latency arrays.npz 100:5 100:30
    python benchmarks/figures.py surge arrays.npz 100:15 5000:20 100:30
    python benchmarks/figures.py leftovers in.npz out.npz 24000 1718000000.5

A message that was delivered more than once counts when it was first published. Latencies are in
seconds from `sent`: to when the server took the prediction (`published`), and to when a subscriber
had it (`received`).
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from schedule import Phase, ids, total

WINDOW_SECS = 1.0  # of a picture; 100 messages at 100 a second
_SKIPPED = 0.01  # of the messages, before a rate is taken: what the first batch held
_CALM = 3  # windows that must follow one another before p99 counts as back
_AS_CALM = 1.25  # times the worst window before the surge: as good as that
_AT_ONCE_SECS = 4.0  # after a program's end: what comes later had been leased, for up to 10 s

Arrays = Mapping[str, NDArray[Any]]


def read(path: Path) -> Arrays:
    """Reads arrays, each message once, in the order in which they were published."""
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    order = np.argsort(arrays["published"], kind="stable")
    _, first = np.unique(arrays["tx_id"][order], return_index=True)
    kept = order[np.sort(first)]
    return {name: array[kept] for name, array in arrays.items()}


def rate(arrays: Arrays) -> dict[str, Any]:
    """Returns messages per second between the first and the last prediction.

    The start of a program is left out: a stream runs for weeks. So is the first percent of the
    messages, which was published when the clock starts.
    """
    published = np.sort(arrays["published"])
    skipped = int(len(published) * _SKIPPED)
    if len(published) - skipped < 2:
        raise SystemExit(f"{len(published)} predictions are too few for a rate")
    secs = published[-1] - published[skipped]
    digest = hashlib.sha256()
    order = np.argsort(arrays["tx_id"])
    for name in ("tx_id", "prediction"):
        digest.update(arrays[name][order].astype(np.float64).tobytes())
    return {
        "messages": len(published),
        "secs": float(secs),
        "per_sec": (len(published) - 1 - skipped) / float(secs),
        "digest": digest.hexdigest(),
    }


def latency(arrays: Arrays, phases: Sequence[Phase]) -> dict[str, Any]:
    """Returns percentiles of the last phase; those before it warm up.

    Raises:
        SystemExit: a prediction of it is missing.
    """
    *_, measured = ids(phases)
    chosen = (arrays["tx_id"] >= measured.first) & (arrays["tx_id"] < measured.stop)
    found, wanted = int(chosen.sum()), measured.stop - measured.first
    if found != wanted:
        raise SystemExit(f"{wanted - found} of {wanted} predictions are missing")
    sent = arrays["sent"][chosen]
    figures: dict[str, Any] = {"messages": found, "sent_per_sec": (found - 1) / float(np.ptp(sent))}
    for name in ("published", "received"):
        secs = arrays[name][chosen] - sent
        figures[name] = {f"p{q}": float(np.percentile(secs, q)) for q in (50, 95, 99)}
    return figures


def surge(arrays: Arrays, phases: Sequence[Phase]) -> dict[str, Any]:
    """Returns p99 by window, how much a surge left behind, and when p99 was back after it.

    Of three phases the second is the surge. p99 is back in the first window after it that is, as
    are the next two, about as good as the worst window before it. The first third of the first
    phase warms up.

    Raises:
        SystemExit: a prediction is missing, or p99 never came back.
    """
    wanted = total(phases)
    if len(arrays["tx_id"]) != wanted:
        raise SystemExit(f"{wanted - len(arrays['tx_id'])} of {wanted} predictions are missing")
    before, during, _ = ids(phases)
    sent, published = (arrays[name] for name in ("sent", "published"))
    began = _time_of(arrays, during.first)
    ended = _time_of(arrays, during.stop)
    warm = _time_of(arrays, before.stop // 3)
    windows = _windows(sent - began, published - sent)
    calm = [p99 for at, p99, _ in windows if warm - began <= at and at + WINDOW_SECS <= 0]
    back = _back(windows, ended - began, _AS_CALM * max(calm))
    return {
        "windows": windows,
        "published": _rates(published - began),
        "surge_secs": ended - began,
        "calm_p99": max(calm),
        "worst_p99": max(p99 for _, p99, _ in windows),
        "excess": int(((sent < ended) & (published > ended)).sum()),
        "back_secs": back,
    }


def leftovers(arrays: Arrays, scored: Arrays, num_published: int, ended: float) -> dict[str, Any]:
    """Returns what became of messages that a program left in its subscription when it ended.

    Args:
        arrays: of the input's subscription, pulled after the program's end.
        scored: of the output's.
        num_published: how many messages there were.
        ended: when the program ended, in seconds since 1970.
    """
    is_late = arrays["received"] > ended + _AT_ONCE_SECS
    late = set(arrays["tx_id"][is_late].tolist())
    at_once = set(arrays["tx_id"][~is_late].tolist())
    done = set(scored["tx_id"].tolist())
    lost = set(range(num_published)) - done - at_once - late
    return {
        "published": num_published,
        "scored": len(done),
        "at_once": len(at_once),
        "scored_and_at_once": len(at_once & done),
        "leased": len(late),
        "leased_and_not_scored": len(late - done),
        "lost": len(lost),
    }


def _time_of(arrays: Arrays, tx_id: int) -> float:
    """When the message with an id was sent."""
    return float(arrays["sent"][arrays["tx_id"] == tx_id][0])


def _windows(
    at: NDArray[np.float64], secs: NDArray[np.float64]
) -> list[tuple[float, float, float]]:
    """Turns latencies into p99 and p50 of each window: (its start, p99, p50)."""
    numbers = np.floor(at / WINDOW_SECS).astype(int)
    return [
        (
            float(number * WINDOW_SECS),
            float(np.percentile(secs[numbers == number], 99)),
            float(np.percentile(secs[numbers == number], 50)),
        )
        for number in np.unique(numbers)
    ]


def _rates(at: NDArray[np.float64]) -> list[tuple[float, float]]:
    """Turns times into how many there are a second, by window."""
    numbers, counts = np.unique(np.floor(at / WINDOW_SECS).astype(int), return_counts=True)
    pairs = zip(numbers.tolist(), counts.tolist(), strict=True)
    return [(number * WINDOW_SECS, count / WINDOW_SECS) for number, count in pairs]


def _back(windows: Sequence[tuple[float, float, float]], ended: float, limit: float) -> float:
    """Returns the seconds from the end of a surge to the first of some calm windows."""
    after = [(at, p99) for at, p99, _ in windows if at + WINDOW_SECS > ended]
    for index in range(len(after) - _CALM + 1):
        if all(p99 <= limit for _, p99 in after[index : index + _CALM]):
            return max(0.0, after[index][0] - ended)
    raise SystemExit(f"p99 was not back below {limit:.3f} s when the schedule ended")


def main() -> None:
    """Reads the command line and prints the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["rate", "latency", "surge", "leftovers"])
    parser.add_argument("path", type=Path)
    parser.add_argument("more", nargs="*")
    args = parser.parse_args()
    arrays = read(args.path)
    if args.what == "rate":
        found = rate(arrays)
    elif args.what == "leftovers":
        found = leftovers(arrays, read(Path(args.more[0])), int(args.more[1]), float(args.more[2]))
    else:
        of = {"latency": latency, "surge": surge}[args.what]
        found = of(arrays, [Phase.of(word) for word in args.more])
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
