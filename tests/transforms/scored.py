"""Batches as `Predict` gives them in a stream."""

import json
import time

import pyarrow as pa

from scoreline.models.reserved import EVENT_TIME, POSITION, with_metadata

SOURCE = "projects/p/subscriptions/s"


def scored(*, first=0, age_secs=0.0, version="v1", **columns):
    """Rows of the input `columns`, with a prediction; their message ids count from `first`."""
    rows = len(next(iter(columns.values())))
    micros = int((time.time() - age_secs) * 1e6)
    ids = [str(first + row) for row in range(rows)]
    batch = pa.record_batch(
        {
            **columns,
            "prediction": pa.array([row / 2 for row in range(rows)]),
            "model_version": [version] * rows,
            POSITION: pa.array(ids),
            EVENT_TIME: pa.array([micros] * rows, pa.timestamp("us", "UTC")),
        }
    )
    outputs = json.dumps(["prediction", "model_version"])
    return with_metadata(batch, source=SOURCE, outputs=outputs, model_version=version)
