"""Wires a stream: messages to decode to conform to predict to sinks, all in one fused stage."""

from functools import partial
from typing import Literal

import apache_beam as beam
import pyarrow as pa

from scoreline.transforms import Conform, Predict
from scoreline.transforms.bigquery.names import TableName
from scoreline.transforms.decode import Decode
from scoreline.transforms.deduplicate import Deduplicate, ForgetRejected
from scoreline.transforms.native_pubsub import ReadNativePubSub
from scoreline.transforms.read_pubsub import ReadPubSub
from scoreline.transforms.stream_files import WriteStreamFiles
from scoreline.transforms.watch_workers import WatchWorkers
from scoreline.transforms.write_bigquery import WriteBigQueryStream
from scoreline.transforms.write_pubsub import PublishDeadLetters, WritePubSub

from .build import sink_labels
from .job import PubSubDeadLetters, PubSubSink
from .job_files import FilesSink
from .places import dead_letters_table, layout_of
from .stream_preflight import PreparedStream

Batches = beam.PCollection[pa.RecordBatch]


def build_stream(
    pipeline: beam.Pipeline,
    prepared: PreparedStream,
    run_id: str,
    *,
    num_readers: int = 1,
    watch: WatchWorkers | None = None,
    on_dataflow: bool = False,
) -> None:
    """Builds the whole stream; the steps have the labels that they have in a batch job.

    Args:
        pipeline: an empty one.
        prepared: the stream.
        run_id: stands on dead letters and in the names of files.
        num_readers: how many read the subscription at a time.
        watch: of the workers, where they are other processes.
        on_dataflow: whether the service reads the subscription, and knows resource hints.
    """
    spec = prepared.job.messages_source
    decode = Decode(
        prepared.reading,
        rename=spec.rename,
        attributes={name: name for name in spec.attributes},
        message_id=spec.message_id,
        publish_time=spec.publish_time,
        run_id=run_id,
    )
    read: beam.PTransform[beam.pvalue.PBegin, Batches] = ReadPubSub(prepared.source, num_readers)
    predict = Predict(prepared.handler, run_id)
    if on_dataflow:
        read = ReadNativePubSub(spec.subscription, spec.id_label)
        predict.with_resource_hints(**prepared.job.resources.hints)
    messages = pipeline | "Read" >> read
    decoded = messages | "Decode" >> decode
    conformed = decoded.accepted | "Conform" >> Conform(prepared.contract, run_id)
    predicted = conformed.accepted | "Predict" >> predict
    # Beam sets the last steps up first: a worker says that it lives before it loads the model.
    scored = predicted.accepted if watch is None else predicted.accepted | "WatchWorkers" >> watch
    by = spec.deduplicate_by
    if by is not None:  # after all that rejects rows: a row is no duplicate of its dead letter
        scored = scored | "Deduplicate" >> Deduplicate(by, spec.deduplicate_secs)
    refused = _write_predictions(scored, prepared, run_id)
    write_dead_letters = partial(_write_dead_letters, prepared=prepared, run_id=run_id)
    write_dead_letters(decoded.dead_letters, "Decode")
    write_dead_letters(conformed.dead_letters, "Conform")
    write_dead_letters(predicted.dead_letters, "Predict")
    for number, (sink, dead_letters) in enumerate(refused, start=1):
        if by is not None:
            dead_letters = dead_letters | f"Forget{number}" >> ForgetRejected(by)
        write_dead_letters(dead_letters, f"Publish{number}", sink=sink)


def _write_predictions(
    rows: Batches, prepared: PreparedStream, run_id: str
) -> list[tuple[int, Batches]]:
    """Writes to all sinks; gives the dead letters of those that have some, and their numbers."""
    refused = []
    labels = sink_labels(len(prepared.job.sinks))
    for number, (sink, label) in enumerate(zip(prepared.job.sinks, labels, strict=True)):
        keep, retry_secs = prepared.keeps[number], _retry_secs(prepared)
        if isinstance(sink, FilesSink):
            layout = layout_of(prepared.layouts, sink)
            rows | label >> WriteStreamFiles(
                layout, run_id, "predicted", keep, retry_secs=retry_secs, sink=number
            )
        elif isinstance(sink, PubSubSink):
            attributes = sink.keep or ()
            publish = WritePubSub(
                sink.topic, keep, attributes, run_id=run_id, retry_secs=retry_secs, sink=number
            )
            refused.append((number, rows | label >> publish))
        else:
            table = TableName.parse(sink.table)
            send = _send(table, prepared, run_id, "predicted", number, keep)
            refused.append((number, rows | label >> send))
    return refused


def _write_dead_letters(
    dead_letters: Batches, stage: str, prepared: PreparedStream, run_id: str, sink: int = 0
) -> None:
    spec, retry_secs = prepared.job.dead_letters, _retry_secs(prepared)
    label = f"Write{stage}DeadLetters"
    rejected = dead_letters_table(prepared.job)
    if isinstance(spec, PubSubDeadLetters):
        dead_letters | label >> PublishDeadLetters(spec.topic, retry_secs=retry_secs, sink=sink)
    elif rejected is not None:
        dead_letters | label >> _send(rejected.table, prepared, run_id, "dead_lettered", sink)
    else:
        write = WriteStreamFiles(
            prepared.layouts[0], run_id, "dead_lettered", retry_secs=retry_secs, sink=sink
        )
        dead_letters | label >> write


def _send(
    table: TableName,
    prepared: PreparedStream,
    run_id: str,
    kind: Literal["predicted", "dead_lettered"],
    sink: int,
    keep: tuple[str, ...] | None = None,
) -> WriteBigQueryStream:
    return WriteBigQueryStream(
        table, keep, kind=kind, run_id=run_id, sink=sink, retry_secs=_retry_secs(prepared)
    )


def _retry_secs(prepared: PreparedStream) -> float:
    """As long as the messages are ours."""
    return prepared.source.max_lease_secs
