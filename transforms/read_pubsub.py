"""Reads a Pub/Sub subscription into batches of messages."""

import apache_beam as beam
import pyarrow as pa
from apache_beam.io.unbounded_source import ReadFromUnboundedSource
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
    """

    def __init__(self, source: PubSubSource):
        super().__init__()
        self._source = source

    @no_annotations
    def expand(self, pbegin: beam.pvalue.PBegin) -> beam.PCollection[pa.RecordBatch]:
        """Beam's wrapper of unbounded sources, with the flush time as the time of a bundle."""
        read = ReadFromUnboundedSource(
            self._source,
            poll_interval=0,
            max_records_per_bundle=_NEVER,
            max_read_time_seconds=self._source.bundle_secs,
        )
        return pbegin | "Read" >> read.with_output_types(pa.RecordBatch)
