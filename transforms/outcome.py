"""What a step does with its rows: it accepts them, or makes dead letters of them."""

from typing import Final, Literal, NamedTuple

import apache_beam as beam
import pyarrow as pa

ACCEPTED: Final = "accepted"
DEAD_LETTERS: Final = "dead_letters"

# How a DoFn declares, to Beam and to the type checker, that it yields dead letters too.
TaggedDeadLetters = beam.pvalue.TaggedOutput[Literal["dead_letters"], pa.RecordBatch]


class Outcome(NamedTuple):
    """Two PCollections of batches: the rows that go on, and the dead letters."""

    accepted: beam.PCollection[pa.RecordBatch]
    dead_letters: beam.PCollection[pa.RecordBatch]
