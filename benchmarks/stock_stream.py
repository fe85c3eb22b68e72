"""Turns messages into published predictions with what Beam ships, as it runs off Dataflow.

``ReadFromPubSub``, ``RunInference`` with ``SklearnModelHandlerNumpy``, ``WriteToPubSub`` on the
only local runner that has the two ends: BundleBasedDirectRunner, which ``DirectRunner --streaming``
falls back to. It is named here because DirectRunner first looks for another runner on the internet.
It publishes the fields and attributes that scoreline publishes, and runs until SIGTERM: it knows
no other end.

::

    python benchmarks/stock_stream.py --model m.joblib --input projects/P/subscriptions/S \
        --output projects/P/topics/T --keep tx_id,sent
"""

import argparse
import json
import os
import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import apache_beam as beam
import numpy as np
from apache_beam.io.gcp.pubsub import PubsubMessage
from apache_beam.ml.inference.base import KeyedModelHandler, PredictionResult, RunInference
from apache_beam.ml.inference.sklearn_inference import ModelFileType, SklearnModelHandlerNumpy
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner
from loop import model_version
from publish import FEATURES

_LOOK_SECS = 0.1


class Fields(NamedTuple):
    """What is published beside the prediction."""

    kept: dict[str, float]
    known: dict[str, str]


class Features:
    """Turns a message into what is published of it and the model's input."""

    def __init__(self, subscription: str, keep: Sequence[str], version: str):
        self._subscription = subscription
        self._keep = keep
        self._version = version

    def __call__(self, message: PubsubMessage) -> tuple[Fields, np.ndarray]:
        """Turns one message."""
        row = json.loads(message.data)
        row_id = f"{self._subscription}#{message.message_id}"
        fields = Fields(
            {name: row[name] for name in self._keep},
            {"row_id": row_id, "model_version": self._version},
        )
        return fields, np.array([row[name] for name in FEATURES])


def to_message(scored: tuple[Fields, PredictionResult]) -> PubsubMessage:
    """Turns a prediction into the message to publish."""
    fields, result = scored
    body = {**fields.kept, "prediction": int(result.inference), **fields.known}
    kept = {name: str(value) for name, value in fields.kept.items()}
    return PubsubMessage(json.dumps(body).encode(), {**fields.known, **kept})


def main() -> None:
    """Reads the command line and runs the pipeline until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--input", required=True)
    parser.add_argument("--output", required=True)
    parser.add_argument("--keep", type=lambda words: words.split(","), default=[])
    args = parser.parse_args()
    features = Features(args.input, args.keep, model_version(args.model))
    handler = KeyedModelHandler(SklearnModelHandlerNumpy(str(args.model), ModelFileType.JOBLIB))
    pipeline = beam.Pipeline(BundleBasedDirectRunner(), PipelineOptions(["--streaming"]))
    (
        pipeline
        | "Read" >> beam.io.ReadFromPubSub(subscription=args.input, with_attributes=True)
        | "Features" >> beam.Map(features)
        | "Predict" >> RunInference(handler)
        | "Messages" >> beam.Map(to_message)
        | "Write" >> beam.io.WriteToPubSub(args.output, with_attributes=True)
    )
    result = pipeline.run()
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    threading.Thread(target=wait, args=[result], daemon=True).start()
    while True:  # a wait without end might not be woken by the signal
        time.sleep(_LOOK_SECS)


def wait(result: beam.runners.runner.PipelineResult) -> None:
    """Ends the process with an error when the pipeline does: it would go on doing nothing."""
    try:
        result.wait_until_finish()
    finally:
        os._exit(1)


if __name__ == "__main__":
    main()
