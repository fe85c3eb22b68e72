"""Turns a Parquet file into predictions with what Beam ships: one element per row.

The program of Beam's own documentation: ``ReadFromParquet``, ``RunInference`` with
``SklearnModelHandlerNumpy``, ``WriteToParquet``, on the in-process runner, which is named so that
nothing else is tried first.

::

    python benchmarks/stock_beam.py --model m.joblib --input in.parquet --output out/part
"""

import argparse
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.ml.inference.base import PredictionResult, RunInference
from apache_beam.ml.inference.sklearn_inference import ModelFileType, SklearnModelHandlerNumpy
from apache_beam.options.pipeline_options import PipelineOptions


def model_version(path: Path) -> str:
    """Turns a model file into the name that stands on its predictions."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:12]


def features(row: Mapping[str, Any], names: list[str]) -> np.ndarray:
    """Turns a row into the model's input."""
    return np.array([row[name] for name in names], dtype=np.float32)


def output_row(result: PredictionResult, names: list[str], version: str) -> dict[str, Any]:
    """Turns a prediction and its features into the row to write."""
    row = dict(zip(names, result.example.tolist(), strict=True))
    return row | {"prediction": int(result.inference), "model_version": version}


def main() -> None:
    """Reads the command line and runs the pipeline."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--input", type=Path, required=True)
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    schema = pq.read_schema(args.input)
    names, version = schema.names, model_version(args.model)
    written = schema.append(pa.field("prediction", pa.int64())).append(
        pa.field("model_version", pa.dictionary(pa.int32(), pa.string()))
    )
    handler = SklearnModelHandlerNumpy(str(args.model), ModelFileType.JOBLIB)
    with beam.Pipeline(options=PipelineOptions(["--runner=FnApiRunner"])) as pipeline:
        (
            pipeline
            | "Read" >> beam.io.ReadFromParquet(str(args.input))
            | "Features" >> beam.Map(features, names)
            | "Predict" >> RunInference(handler)
            | "Rows" >> beam.Map(output_row, names, version)
            | "Write"
            >> beam.io.WriteToParquet(
                args.output, written, codec="snappy", file_name_suffix=".parquet"
            )
        )


if __name__ == "__main__":
    main()
