"""Turns a Parquet file into predictions with Ray Data, in the environment of ray_environment.py.

A function rather than an actor, so that Ray fuses predict and write into one task: on two cores
that took 5.6-6.9 s with gradient boosting where a pool of one or two actors took 7.5-9.2 s. The
model travels with the task and is unpickled once in it. Ray is kept small and to itself: two CPUs,
a small object store, loopback only, no dashboard, no usage report, and it is stopped at the end.
The last line on stdout, ``ray_start_secs=...``, is what Ray took to start, for the benchmark to
subtract.

::

    python benchmarks/ray_data.py --model m.joblib --input in.parquet --output out
"""

import argparse
import hashlib
import os
import secrets
import shutil
import tempfile
import time
from pathlib import Path

# All are read when ray is imported. Without the token Ray writes one to ~/.ray; without the last,
# it replaces a node address of 127.0.0.1 by the machine's own and listens on every interface.
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"

import joblib
import numpy as np
import pyarrow as pa
import ray
from sklearn.base import BaseEstimator

OBJECT_STORE_BYTES = 2**30
BATCH_ROWS = 65_536


def model_version(path: Path) -> str:
    """Turns a model file into the name that stands on its predictions."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:12]


def predicted(table: pa.Table, model: BaseEstimator, version: str) -> pa.Table:
    """Turns a batch into the same batch with `prediction` and `model_version` appended."""
    prediction = model.predict(table.select(list(model.feature_names_in_)).to_pandas())
    codes = np.zeros(table.num_rows, np.int32)
    return table.append_column("prediction", pa.array(prediction)).append_column(
        "model_version", pa.DictionaryArray.from_arrays(codes, [version])
    )


def start(scratch: str) -> float:
    """Starts a small private Ray and returns the seconds that took."""
    began = time.perf_counter()
    ray.init(
        num_cpus=2,
        object_store_memory=OBJECT_STORE_BYTES,
        include_dashboard=False,
        log_to_driver=False,
        _node_ip_address="127.0.0.1",
        _temp_dir=scratch,
    )
    return time.perf_counter() - began


def main() -> None:
    """Reads the command line and runs the pipeline."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--input", required=True)
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    scratch = tempfile.mkdtemp(prefix="ray-")
    try:
        start_secs = start(scratch)
        ray.data.DataContext.get_current().enable_progress_bars = False
        rows = ray.data.read_parquet(args.input).map_batches(
            predicted,
            batch_size=BATCH_ROWS,
            batch_format="pyarrow",
            fn_kwargs={"model": joblib.load(args.model), "version": model_version(args.model)},
        )
        rows.write_parquet(args.output, compression="snappy")
    finally:
        ray.shutdown()
        shutil.rmtree(scratch, ignore_errors=True)
    print(f"ray_start_secs={start_secs:.3f}")


if __name__ == "__main__":
    main()
