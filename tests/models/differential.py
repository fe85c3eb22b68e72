"""Holds a model of ours against its own library, over every shape that a batch can come in.

A format's test makes a `Case` for each model and hands it to `check_case`:

    @pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
    def test_predictions_are_the_librarys_own(case):
        check_case(case)
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from sklearn_models import identical

from scoreline.models.artifact import Artifact
from scoreline.models.contract import is_text
from scoreline.models.model import Model
from scoreline.models.registry import format_of
from scoreline.models.trust import Trust

MAX_ROWS = 65_536
SIZES = (1, 7, 1_000, MAX_ROWS)
# How many rows are scored in batches of a size: in batches of one row each call costs as much as a
# thousand rows do.
_ROWS_OF_SIZE = {1: 50, 7: 350, 1_000: 5_000}
_SEED = 20_240_607


@dataclass(frozen=True)
class Case:
    """One model, rows for it, and what its own library says of them.

    Attributes:
        name: of the test.
        model: ours, loaded from the bytes of a file.
        batch: rows that the model takes; `table_of` makes some. Of up to 65,536 rows.
        own: the library's own answer to a batch, by the name of our output column. It gets the
            very batch that our model gets: other column order, dictionaries and nulls included.
        nullable: the columns in which the library takes missing values.
        encodable: the columns that may come dictionary-encoded.
        bound: how far a number may be off if the same row comes in a batch of another size, as a
            fraction of the largest number of its column. Labels have to be the same.
    """

    name: str
    model: Model
    batch: pa.RecordBatch
    own: Callable[[pa.RecordBatch], Mapping[str, Any]]
    nullable: tuple[str, ...] = ()
    encodable: tuple[str, ...] = ()
    bound: float = 0.0
    sizes: tuple[int, ...] = field(default=SIZES)


def load(
    artifact: Artifact,
    *outputs: str,
    features: tuple[str, ...] | None = None,
    trust: Trust = Trust(allow_pickle=True),  # noqa: B008  it is frozen
) -> Model:
    """Loads a file's bytes the way a run does, but for the reading."""
    return format_of(artifact).load(artifact, trust, outputs or ("predict",), features)


def check_case(case: Case) -> None:
    """All of the promise: to the bit on the same batch, within the bound across batch sizes."""
    for name, batch in variants(case):
        check_same_batch(case, name, batch)
    whole = case.model.score(case.batch)
    for size in case.sizes:
        check_batch_size(case, size, whole)


def check_same_batch(case: Case, name: str, batch: pa.RecordBatch) -> None:
    """Our answer to one batch is the library's own, to the bit, column by column."""
    expected = case.own(batch)
    came = case.model.score(batch)
    assert came.num_rows == batch.num_rows
    assert came.schema.names == list(expected), (case.name, name)
    for column in expected:
        assert identical(came.column(column), expected[column]), (case.name, name, column)


def check_batch_size(case: Case, size: int, whole: pa.RecordBatch) -> None:
    """The same rows in batches of another size: the same labels, numbers within the bound."""
    rows = min(_ROWS_OF_SIZE.get(size, MAX_ROWS), case.batch.num_rows)
    whole = whole.slice(0, rows)
    pieces = [
        case.model.score(case.batch.slice(start, min(size, rows - start)))
        for start in range(0, rows, size)
    ]
    joined = pa.Table.from_batches(pieces).combine_chunks()
    for name in whole.schema.names:
        expected = whole.column(name).to_numpy(zero_copy_only=False)
        came = joined.column(name).to_numpy()
        where = f"{case.name}: {name} in batches of {size}"
        if expected.dtype.kind != "f":
            assert came.tolist() == expected.tolist(), where
            continue
        largest = np.abs(expected[np.isfinite(expected)]).max(initial=0.0)
        np.testing.assert_allclose(
            came, expected, rtol=0, atol=case.bound * largest, err_msg=where, equal_nan=True
        )


def variants(case: Case) -> Iterator[tuple[str, pa.RecordBatch]]:
    """The shapes in which the same kind of rows can come, each with a name."""
    batch, names = case.batch, case.batch.schema.names
    few = batch.slice(0, 1_000)
    yield "whole", batch
    for size in (1, 7, 1_000):
        yield f"{size} rows", batch.slice(0, size)
    yield "other column order", few.select(names[::-1])
    yield "more columns", few.append_column("zz_not_a_feature", pa.nulls(few.num_rows))
    yield "slice with an offset", batch.slice(13, 777)
    yield "slice of a slice", batch.slice(5, 900).slice(3, 801).select(names[::-1])
    yield "last rows", batch.slice(batch.num_rows - 3)
    yield "chunk boundary", _rechunked(batch, 1_000, 337)
    if case.encodable:
        yield "dictionaries", _encoded(few, case.encodable)
        yield "slice of dictionaries", _encoded(few, case.encodable).slice(11, 500)
    if case.nullable:
        yield "nulls", with_nulls(few, case.nullable)
        yield "slice of nulls", with_nulls(few, case.nullable).slice(9, 600)
        yield "null columns", _only_nulls(few, case.nullable)
    if case.nullable and set(case.encodable) & set(case.nullable):
        both = tuple(set(case.encodable) & set(case.nullable))
        yield "dictionaries with nulls", _encoded(with_nulls(few, both), both)


def _rechunked(batch: pa.RecordBatch, rows: int, chunk: int) -> pa.RecordBatch:
    """The second chunk of a table that was cut at odd places: its buffers start in the middle."""
    table = pa.Table.from_batches([batch.slice(0, rows), batch.slice(rows, rows)])
    return table.to_batches(max_chunksize=chunk)[1]


def _encoded(batch: pa.RecordBatch, names: tuple[str, ...]) -> pa.RecordBatch:
    for name in names:
        index = batch.schema.get_field_index(name)
        batch = batch.set_column(index, name, batch.column(name).dictionary_encode())
    return batch


def with_nulls(batch: pa.RecordBatch, names: tuple[str, ...]) -> pa.RecordBatch:
    """A batch in which one value in five is missing in each of the named columns."""
    rng = np.random.default_rng(_SEED)
    for name in names:
        index = batch.schema.get_field_index(name)
        mask = pa.array(rng.random(batch.num_rows) < 0.2)
        column = batch.column(name)
        batch = batch.set_column(index, name, pc.if_else(mask, None, column))
    return batch


def _only_nulls(batch: pa.RecordBatch, names: tuple[str, ...]) -> pa.RecordBatch:
    """Nothing but nulls in the first of the named columns, of the type that it has."""
    index = batch.schema.get_field_index(names[0])
    return batch.set_column(index, names[0], pa.nulls(batch.num_rows, batch.column(index).type))


def rows_of(schema: pa.Schema, rows: int = MAX_ROWS, seed: int = _SEED) -> pa.RecordBatch:
    """Rows of a schema: normal numbers, small whole numbers, words of a small vocabulary."""
    rng = np.random.default_rng(seed)
    arrays = [_column(field_.type, rng, rows) for field_ in schema]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


_VOCABULARY = ["gold", "basic", "very good", "not bad at all", "", "ünïcode", "a b c d"]
_WORDS = np.array(_VOCABULARY, object)


def _column(type_: pa.DataType, rng: np.random.Generator, rows: int) -> pa.Array:
    if is_text(type_):
        return pa.array(_WORDS[rng.integers(0, len(_WORDS), rows)], type_)
    if pa.types.is_boolean(type_):
        return pa.array(rng.random(rows) < 0.5)
    if pa.types.is_integer(type_):
        return pa.array(rng.integers(0, 100, rows)).cast(type_)
    return pa.array(rng.normal(size=rows)).cast(type_, safe=False)
