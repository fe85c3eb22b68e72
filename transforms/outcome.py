"""What a step does with its rows: it accepts them, or makes dead letters of them."""

from typing import NamedTuple

import apache_beam as beam

ACCEPTED = "accepted"
DEAD_LETTERS = "dead_letters"


class Outcome(NamedTuple):
    """Two PCollections of batches: the rows that go on, and the dead letters."""

    accepted: beam.PCollection
    dead_letters: beam.PCollection
