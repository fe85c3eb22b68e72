import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
from arrow_data import batches, same_rows
from hypothesis import given
from hypothesis import strategies as st

from scoreline.transforms import RecordBatchCoder

CODER = RecordBatchCoder()


@given(batches(), st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2))
def test_any_batch_comes_back_with_its_metadata(batch, metadata):
    batch = batch.replace_schema_metadata(metadata or None)
    decoded = CODER.decode(CODER.encode(batch))
    decoded.validate(full=True)
    assert same_rows(decoded, batch)
    assert decoded.schema.equals(batch.schema, check_metadata=True)


@given(batches(min_rows=3), st.data())
def test_any_slice_comes_back(batch, data):
    start = data.draw(st.integers(0, batch.num_rows - 1))
    part = batch.slice(start, data.draw(st.integers(1, batch.num_rows - start)))
    assert same_rows(CODER.decode(CODER.encode(part)), part)


def test_a_slice_is_encoded_without_its_neighbours():
    rows = 100_000
    batch = pa.record_batch(
        {
            "i": np.arange(rows),
            "s": [str(i) for i in range(rows)],
            "l": [[i] for i in range(rows)],
            "st": [{"a": i} for i in range(rows)],
        }
    )
    assert len(CODER.encode(batch.slice(50_000, 10))) < 2500


def test_a_batch_without_columns_keeps_its_rows():
    batch = pa.record_batch({"x": [1, 2, 3]}).select([])
    assert CODER.decode(CODER.encode(batch)).num_rows == 3


def test_the_size_is_known_without_encoding(monkeypatch):
    monkeypatch.setattr(RecordBatchCoder, "encode", None)
    batch = pa.record_batch({"x": pa.array(range(1000), pa.int64())})
    assert CODER.estimate_size(batch) == 8000
    assert CODER.estimate_size(batch.slice(0, 10)) == 80


@given(batches())
def test_every_batch_has_a_size(batch):
    assert CODER.estimate_size(batch) >= 0


def test_it_is_registered_and_never_a_key():
    assert isinstance(beam.coders.registry.get_coder(pa.RecordBatch), RecordBatchCoder)
    assert not CODER.is_deterministic()


def test_it_survives_the_way_to_a_worker():
    context = beam.runners.pipeline_context.PipelineContext()
    sent = beam.coders.Coder.from_runner_api(CODER.to_runner_api(context), context)
    batch = pa.record_batch({"x": [1]})
    assert sent == CODER
    assert sent.decode(sent.encode(batch)).equals(batch)


def test_what_is_no_stream_is_an_error():
    with pytest.raises(pa.ArrowInvalid):
        CODER.decode(b"nonsense")
