"""Batches in the types that BigQuery's Storage Write API takes.

Nothing loses a value on the way: a row that would is found, and does not go.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scoreline.models.dictionaries import decode_dictionary

from .column_types import to_send

_wire_schema = lru_cache(maxsize=64)(to_send)  # all batches of a PCollection share one schema


@dataclass(frozen=True)
class Misfit:
    """A row that would lose a value in a cast, and why."""

    row: int
    message: str


def wire_rows(batch: pa.RecordBatch) -> tuple[pa.RecordBatch, list[Misfit]]:
    """Turns a batch into the rows that are sent, and those that lose a value in their cast.

    Lists that are null become empty ones: BigQuery does not tell them apart, and refuses nulls.

    >>> times = pa.array([1_000, 1_001], pa.timestamp("ns"))
    >>> rows, misfits = wire_rows(pa.record_batch({"at": times, "n": [1, 2]}))
    >>> rows.column("n").to_pylist(), [misfit.row for misfit in misfits]
    ([1], [1])
    """
    schema = _wire_schema(batch.schema.remove_metadata())
    try:
        return _cast(batch, schema), []
    except pa.ArrowInvalid:
        misfits = _misfits(batch, schema)
        fitting = np.ones(batch.num_rows, bool)
        fitting[[misfit.row for misfit in misfits]] = False
        return _cast(batch.take(pa.array(np.flatnonzero(fitting))), schema), misfits


def _cast(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Raises pa.ArrowInvalid where a value would be lost."""
    columns = [
        _without_null_lists(_cast_column(column, field.type))
        for column, field in zip(batch.columns, schema, strict=True)
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _cast_column(column: pa.Array, type_: pa.DataType) -> pa.Array:
    if column.type.equals(type_):
        return column
    if isinstance(column, pa.ExtensionArray):
        return _cast_column(column.storage, type_)
    plain = decode_dictionary(column)
    return plain if plain.type.equals(type_) else plain.cast(type_)


def _without_null_lists(column: pa.Array) -> pa.Array:
    if pa.types.is_list(column.type) and column.null_count:
        return pc.if_else(column.is_valid(), column, pa.scalar([], column.type))
    if pa.types.is_struct(column.type):
        inner = [_without_null_lists(column.field(index)) for index in range(len(column.type))]
        mask = column.is_null() if column.null_count else None
        return pa.StructArray.from_arrays(inner, fields=list(column.type), mask=mask)
    return column


def _misfits(batch: pa.RecordBatch, schema: pa.Schema) -> list[Misfit]:
    """Tries the values of each column that cannot be cast one by one: it is a rare thing."""
    found: dict[int, str] = {}
    for column, field in zip(batch.columns, schema, strict=True):
        for row, why in _unfit_values(column, field.type):
            message = f"column {field.name!r} does not fit BigQuery's {field.type}: {why}"
            found.setdefault(row, message)
    return [Misfit(row, found[row]) for row in sorted(found)]


def _unfit_values(column: pa.Array, type_: pa.DataType) -> Sequence[tuple[int, str]]:
    try:
        _cast_column(column, type_)
    except pa.ArrowInvalid:
        values = ((row, column.slice(row, 1)) for row in range(len(column)))
        return [(row, why) for row, value in values if (why := _why_unfit(value, type_))]
    return []


def _why_unfit(value: pa.Array, type_: pa.DataType) -> str:
    try:
        _cast_column(value, type_)
    except pa.ArrowInvalid as error:
        return str(error)
    return ""
