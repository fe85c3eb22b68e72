"""Turns a Parquet file into predictions with a plain columnar loop: the honest alternative.

What a good engineer writes in an afternoon without a framework: batches of columns, one
``predict`` per batch, one writer, as little memory for a large file as for a small one. It keeps
no account of rows, has no dead letters and leaves half a file after a crash.

``--dictionary strings`` keeps the writer from its default, a dictionary for every float column. The
loop was then 3.5 times as fast with the logistic model and its file a third smaller, so both are
measured: a ratio to the default loop alone could be won by a writer setting.

::

    python benchmarks/loop.py --model m.joblib --input in.parquet --output out/part.parquet
"""

import argparse
import hashlib
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from sklearn.base import BaseEstimator


def model_version(path: Path) -> str:
    """Turns a model file into the name that stands on its predictions."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:12]


def predicted(batch: pa.RecordBatch, model: BaseEstimator, version: str) -> pa.RecordBatch:
    """Turns a batch into the same batch with `prediction` and `model_version` appended."""
    prediction = model.predict(batch.select(list(model.feature_names_in_)).to_pandas())
    codes = np.zeros(batch.num_rows, np.int32)
    return batch.append_column("prediction", pa.array(prediction)).append_column(
        "model_version", pa.DictionaryArray.from_arrays(codes, [version])
    )


def dictionary_columns(schema: pa.Schema) -> list[str]:
    """Turns a schema into the columns in which values repeat: all that are not floats."""
    return [field.name for field in schema if not pa.types.is_floating(field.type)]


def main() -> None:
    """Reads the command line and runs the loop."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--input", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--batch_rows", type=int, default=65_536)
    parser.add_argument("--dictionary", choices=["all", "strings"], default="all")
    args = parser.parse_args()
    args.output.parent.mkdir(parents=True, exist_ok=True)
    model, version = joblib.load(args.model), model_version(args.model)
    # With the default, pre_buffer=True, what was read stays in memory until the file is closed.
    with pq.ParquetFile(args.input, pre_buffer=False) as source:
        schema = source.schema_arrow.append(pa.field("prediction", pa.int64()))
        schema = schema.append(pa.field("model_version", pa.dictionary(pa.int32(), pa.string())))
        settings: dict[str, Any] = {"compression": "snappy"}
        if args.dictionary == "strings":
            settings["use_dictionary"] = dictionary_columns(schema)
        with pq.ParquetWriter(args.output, schema, **settings) as writer:
            for batch in source.iter_batches(args.batch_rows):
                writer.write_batch(predicted(batch, model, version))


if __name__ == "__main__":
    main()
