"""Batches in the types that BigQuery's Storage Write API takes.

Nothing loses a value on the way: a row that would is found, and does not go.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scoreline.models.dictionaries import decode_dictionary

from .column_types import to_send

Casts = Sequence[tuple[int, pa.Field]]


@dataclass(frozen=True)
class Misfit:
    """A row that would lose a value in a cast, and why."""

    row: int
    message: str


class WireCast:
    """Turns batches into the rows that are sent, and those that lose a value in their cast.

    Lists that are null become empty ones: BigQuery does not tell them apart, and refuses nulls.
    Columns of the type null, as files have them that hold no value there, are not sent: that is
    null in a column of any type, and text would be none.

    >>> times = pa.array([1_000, 1_001], pa.timestamp("ns"))
    >>> rows, misfits = WireCast().rows(pa.record_batch({"at": times, "n": [1, 2]}))
    >>> rows.column("n").to_pylist(), [misfit.row for misfit in misfits]
    ([1], [1])
    """

    def __init__(self) -> None:
        # Batches come with one schema, as a rule, and to ask the same of it again takes longer
        # than to serialise a small batch.
        self._schema: pa.Schema | None = None
        self._casts: Casts = ()
        self._sent: list[int] = []  # all if empty

    def rows(self, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, list[Misfit]]:
        """Gives the rows that are sent, in order, and the others.

        Raises:
            ValueError: a column has a type or a name that BigQuery does not know.
        """
        bare = batch.replace_schema_metadata(None) if batch.schema.metadata else batch
        if self._schema is None or not bare.schema.equals(self._schema, check_metadata=True):
            self._sent = _typed_columns(bare.schema)
            self._casts = _casts(bare.select(self._sent).schema if self._sent else bare.schema)
            self._schema = bare.schema
        if self._sent:
            bare = bare.select(self._sent)
        try:
            return _cast(bare, self._casts), []
        except pa.ArrowInvalid:
            misfits = _misfits(bare, self._casts)
            fitting = np.ones(bare.num_rows, bool)
            fitting[[misfit.row for misfit in misfits]] = False
            fits = bare.take(pa.array(np.flatnonzero(fitting)))
            return _cast(fits, self._casts), misfits


def _typed_columns(schema: pa.Schema) -> list[int]:
    """The columns that are not of the type null, if some are and some are not."""
    typed = [index for index, type_ in enumerate(schema.types) if not pa.types.is_null(type_)]
    return typed if len(typed) < len(schema) else []


def _casts(schema: pa.Schema) -> Casts:
    """The columns that are not sent as they are, each with what it is sent as."""
    pairs = zip(schema, to_send(schema), strict=True)
    return [
        (index, sent)
        for index, (field, sent) in enumerate(pairs)
        if pa.types.is_nested(sent.type) or not sent.equals(field, check_metadata=True)
    ]


def _cast(batch: pa.RecordBatch, casts: Casts) -> pa.RecordBatch:
    """Raises pa.ArrowInvalid where a value would be lost."""
    for index, field in casts:
        column = _without_null_lists(_cast_column(batch.column(index), field.type))
        batch = batch.set_column(index, field, column)
    return batch


def _cast_column(column: pa.Array, type_: pa.DataType) -> pa.Array:
    if column.type.equals(type_):
        return column
    if isinstance(column, pa.ExtensionArray):
        return _cast_column(column.storage, type_)
    plain = decode_dictionary(column)
    return plain if plain.type.equals(type_) else plain.cast(type_)


def _without_null_lists(column: pa.Array) -> pa.Array:
    """Turns null lists into empty ones, at every depth."""
    if pa.types.is_list(column.type):
        if column.null_count:
            column = pc.if_else(column.is_valid(), column, pa.scalar([], column.type))
        if not pa.types.is_nested(column.type.value_type):
            return column
        items = _without_null_lists(column.values)
        return pa.ListArray.from_arrays(column.offsets, items, type=column.type)
    if pa.types.is_struct(column.type):
        inner = [_without_null_lists(column.field(index)) for index in range(len(column.type))]
        mask = column.is_null() if column.null_count else None
        return pa.StructArray.from_arrays(inner, fields=list(column.type), mask=mask)
    return column


def _misfits(batch: pa.RecordBatch, casts: Casts) -> list[Misfit]:
    """Tries the values of each column that cannot be cast one by one: it is a rare thing."""
    found: dict[int, str] = {}
    for index, field in casts:
        for row, why in _unfit_values(batch.column(index), field.type):
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
