"""Turns words such as 100:20 5000:20 into phases: so many messages a second, for so many seconds.

Messages have the ids 0, 1, 2, ... in the order in which they are published, so that the schedule
says of each to which phase it belongs.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple


class Phase(NamedTuple):
    """A stretch of time in which messages are published at a steady rate."""

    per_sec: float
    secs: float

    @classmethod
    def of(cls, word: str) -> "Phase":
        """Turns a word of the command line into a phase.

        >>> Phase.of("100:20")
        Phase(per_sec=100.0, secs=20.0)
        """
        per_sec, secs = word.split(":")
        return cls(float(per_sec), float(secs))

    @property
    def word(self) -> str:
        """The word that stands for it."""
        return f"{self.per_sec:g}:{self.secs:g}"

    @property
    def messages(self) -> int:
        """How many messages it has."""
        return round(self.per_sec * self.secs)


class Ids(NamedTuple):
    """The ids of one phase: from `first` to the one before `stop`."""

    first: int
    stop: int


def total(phases: Iterable[Phase]) -> int:
    """Returns how many messages a schedule has.

    >>> total([Phase(100, 20), Phase(5000, 20)])
    102000
    """
    return sum(phase.messages for phase in phases)


def ids(phases: Iterable[Phase]) -> Iterator[Ids]:
    """Turns a schedule into the ids of its phases.

    >>> list(ids([Phase(100, 2), Phase(1000, 1)]))
    [Ids(first=0, stop=200), Ids(first=200, stop=1200)]
    """
    first = 0
    for phase in phases:
        yield Ids(first, first + phase.messages)
        first += phase.messages
