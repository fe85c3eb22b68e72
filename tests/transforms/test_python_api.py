"""The transforms in a pipeline of somebody's own, as the documentation shows them."""

import math

import apache_beam as beam
import pyarrow.parquet as pq
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from scoreline.models import ColumnarModelHandler, load_model
from scoreline.transforms import Conform, Predict, ReadFiles, WriteFiles, decode_payload

FLAGS = {
    "in process": [],
    "in threads": ["--direct_running_mode=multi_threading", "--direct_num_workers=2"],
    "in processes": ["--direct_running_mode=multi_processing", "--direct_num_workers=2"],
}


def build(pipeline, pattern, ref, output, dead_letters):
    read = pipeline | ReadFiles(pattern)
    conformed = read.batches | Conform(load_model(ref).contract)
    predicted = conformed.accepted | Predict(ColumnarModelHandler(ref))
    _ = predicted.accepted | "WritePredictions" >> WriteFiles(output, keep=("k",), row_id=True)
    _ = (
        (read.dead_letters, conformed.dead_letters, predicted.dead_letters)
        | beam.Flatten()
        | "WriteDeadLetters" >> WriteFiles(dead_letters)
    )


@pytest.mark.parametrize("flags", FLAGS.values(), ids=FLAGS)
def test_files_in_predictions_and_dead_letters_out(tmp_path, write_table, linear_ref, flags):
    for number in range(4):
        ks = [number * 10 + row for row in range(10)]
        xs = [math.nan if k % 7 == 0 else float(k) for k in ks]
        write_table(f"in/{number}.parquet", {"k": ks, "y": [1.0] * 10, "x": xs}, row_group_size=3)
    output, dead = str(tmp_path / "scores"), str(tmp_path / "rejected.parquet")
    options = PipelineOptions(flags, save_main_session=False)
    with beam.Pipeline(runner=FnApiRunner(), options=options) as pipeline:
        build(pipeline, str(tmp_path / "in" / "*.parquet"), linear_ref, output, dead)
    scores = pq.read_table(output)
    assert scores.schema.names == ["k", "prediction", "model_version", "row_id"]
    rows = scores.to_pylist()
    assert [row["k"] for row in rows] == [k for k in range(40) if k % 7]
    assert all(math.isclose(row["prediction"], 4 + 2 * row["k"]) for row in rows)
    names = [(row["row_id"].rsplit("/", 1)[-1], row["k"]) for row in rows]
    assert all(name == f"{k // 10}.parquet#{k % 10}" for name, k in names)
    letters = pq.read_table(dead).to_pylist()
    rejected = [decode_payload(letter["payload"]).to_pylist()[0]["k"] for letter in letters]
    # Flatten may deal its batches out to several workers: rows keep their order within a batch.
    assert sorted(rejected) == [k for k in range(40) if k % 7 == 0]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [
        "in",
        "rejected.parquet",
        "scores",
    ]
