"""Functions of batches, as a user would name them with --preprocess and --postprocess."""

import functools

import pyarrow as pa
import pyarrow.compute as pc


def add_total(batch: pa.RecordBatch) -> pa.RecordBatch:
    return batch.append_column("total", pc.add(batch.column("a"), batch.column("b")))


def as_text(batch: pa.RecordBatch) -> pa.RecordBatch:
    names = batch.schema.names
    return pa.RecordBatch.from_arrays([column.cast(pa.string()) for column in batch.columns], names)


def drop_b(batch: pa.RecordBatch) -> pa.RecordBatch:
    return batch.select([name for name in batch.schema.names if name != "b"])


def drop_a_row(batch: pa.RecordBatch) -> pa.RecordBatch:
    return batch.slice(1)


def drop_threes(batch: pa.RecordBatch) -> pa.RecordBatch:
    return batch.filter(pc.not_equal(batch.column("a"), 3))


def repeat_threes(batch: pa.RecordBatch) -> pa.RecordBatch:
    rows = [row for row, a in enumerate(batch.column("a").to_pylist()) for _ in range(1 + (a == 3))]
    return batch.take(pa.array(rows))


def as_frame(batch: pa.RecordBatch) -> object:
    return batch.to_pandas()


def twice(batch: pa.RecordBatch) -> pa.RecordBatch:
    return batch.append_column("a", batch.column("a"))


def flag(batch: pa.RecordBatch) -> pa.RecordBatch:
    return pa.record_batch({"high": pc.greater(batch.column("prediction"), 0.5), "a": batch["a"]})


def version(batch: pa.RecordBatch) -> pa.RecordBatch:
    return batch.append_column("model_version", batch.column("prediction"))


def fail_on_three(batch: pa.RecordBatch) -> pa.RecordBatch:
    if 3 in batch.column("a").to_pylist():
        raise ValueError("three")
    return batch


class Callable:
    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        return batch.slice(1)


instance = Callable()
partial = functools.partial(drop_a_row)
not_callable = 3
