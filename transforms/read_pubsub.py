"""Reads a Pub/Sub subscription into batches of messages."""

from dataclasses import replace

import apache_beam as beam
import pyarrow as pa
from apache_beam.io.unbounded_source import ReadFromUnboundedSource, _ReadFromUnboundedSourceDoFn
from apache_beam.typehints.decorators import no_annotations

from .pubsub_source import PubSubSource

_NEVER = 10**9  # batches in a bundle: it is the reader that ends them


class ReadPubSub(beam.PTransform[beam.pvalue.PBegin, beam.PCollection[pa.RecordBatch]]):
    """Reads messages, as they come, into batches with `messages.MESSAGE_SCHEMA`.

    Messages are acknowledged when their bundle has ended and the runner has said so: what is in
    the same fused stage, its sinks included, has finished by then. Off Dataflow only, as there is a
    native source there.

    Args:
        source: what to read, and how far ahead.
        num_readers: how many read at a time, where the runner has several workers.

    Raises:
        ValueError: fewer than one reader.
    """

    def __init__(self, source: PubSubSource, num_readers: int = 1):
        super().__init__()
        if num_readers < 1:
            raise ValueError(f"num_readers: expected at least 1, got {num_readers}")
        self._sources = [replace(source, index=index) for index in range(num_readers)]

    @no_annotations
    def expand(self, pbegin: beam.pvalue.PBegin) -> beam.PCollection[pa.RecordBatch]:
        """Beam's wrapper of unbounded sources, with the flush time as the time of a bundle."""
        first = self._sources[0]
        if len(self._sources) == 1:
            read = ReadFromUnboundedSource(
                first,
                poll_interval=0,
                max_records_per_bundle=_NEVER,
                max_read_time_seconds=first.bundle_secs,
            )
            return pbegin | "Read" >> read.with_output_types(pa.RecordBatch)
        # As above, but from several sources: Flink spreads the elements of a splittable step over
        # its subtasks, and one source is one element, however it is split.
        reading = beam.ParDo(_ReadFromUnboundedSourceDoFn(0, _NEVER, first.bundle_secs))
        sources = pbegin | "Sources" >> beam.Create(self._sources)
        return sources | "Read" >> reading.with_output_types(pa.RecordBatch)
