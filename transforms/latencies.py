"""How long messages took, in memory that does not grow: counts in bins of equal ratio."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]

_FIRST_DECADE, _LAST_DECADE = -4, 6  # from 0.1 ms to 116 days: a backlog may be weeks old


def _decade() -> npt.NDArray[np.float64]:
    """40 edges of about 6 % each; 1, 2 and 5 are among them, as whoever reads a chart expects."""
    parts = ((1, 2, 12), (2, 5, 16), (5, 10, 12))
    return np.concatenate([np.geomspace(low, up, num, endpoint=False) for low, up, num in parts])


# The upper edge of each bin belongs to it; behind the last edge is a bin for all that is above.
EDGES = np.concatenate([_decade() * 10.0**n for n in range(_FIRST_DECADE, _LAST_DECADE + 1)])
EDGES.setflags(write=False)


@dataclass(frozen=True, eq=False)
class Latencies:
    """A histogram of seconds; a value that is added gives a new one.

    Attributes:
        counts: the values in each bin; one more than there are edges.
        total_secs: the sum of the values.
        low_secs: no value is below it.
        high_secs: no value is above it.
    """

    counts: Counts
    total_secs: float
    low_secs: float
    high_secs: float

    @staticmethod
    def none() -> "Latencies":
        """The histogram of no values."""
        return Latencies(np.zeros(len(EDGES) + 1, np.int64), 0.0, np.inf, 0.0)

    @property
    def num_values(self) -> int:
        """How many values were added."""
        return int(self.counts.sum())

    def plus(self, secs: npt.ArrayLike) -> "Latencies":
        """Adds values. What is no number is left out; below 0, where two clocks differ, is 0.

        >>> Latencies.none().plus([0.1, 0.2, float("nan")]).num_values
        2
        """
        values = np.asarray(secs, np.float64).ravel()
        values = np.maximum(values[np.isfinite(values)], 0.0)
        if not len(values):
            return self
        bins = np.searchsorted(EDGES, values, side="left")
        return Latencies(
            self.counts + np.bincount(bins, minlength=len(self.counts)),
            self.total_secs + float(values.sum()),
            min(self.low_secs, float(values.min())),
            max(self.high_secs, float(values.max())),
        )

    def since(self, earlier: "Latencies") -> "Latencies":
        """What was added after an earlier state of this histogram."""
        counts = self.counts - earlier.counts
        filled = np.flatnonzero(counts)
        last = int(filled[-1]) if len(filled) else 0
        high = min(self.high_secs, float(EDGES[last])) if last < len(EDGES) else self.high_secs
        return Latencies(counts, self.total_secs - earlier.total_secs, self.low_secs, high)

    def quantile(self, q: float) -> float | None:
        """The seconds that a share `q` of the values did not exceed, within 6 %; None if empty.

        >>> Latencies.none().plus([0.25]).quantile(0.99)
        0.25
        """
        if not 0 <= q <= 1:
            raise ValueError(f"a quantile lies between 0 and 1, not at {q}")
        reached = np.cumsum(self.counts)
        if not reached[-1]:
            return None
        rank = max(q * int(reached[-1]), 1.0)
        index = int(np.searchsorted(reached, rank, side="left"))
        share = 1 - (int(reached[index]) - rank) / int(self.counts[index])
        lower = EDGES[index - 1] if index else 0.0
        upper = EDGES[index] if index < len(EDGES) else max(self.high_secs, EDGES[-1])
        value = lower * (upper / lower) ** share if lower > 0 else upper * share
        return float(min(max(value, self.low_secs), self.high_secs))

    def num_within(self, secs: float) -> int:
        """How many values were at most `secs`, exactly if that is an edge."""
        return int(self.counts[: int(np.searchsorted(EDGES, secs * (1 + 1e-9)))].sum())

    def as_report(self) -> dict[str, Any]:
        """What a report and a status say of it; seconds are None where there was no message."""
        is_any = self.num_values > 0
        return {
            "messages": self.num_values,
            "p50_secs": _rounded(self.quantile(0.5)),
            "p99_secs": _rounded(self.quantile(0.99)),
            "max_secs": _rounded(self.high_secs if is_any else None),
        }


def _rounded(secs: float | None) -> float | None:
    return None if secs is None else round(secs, 6)
