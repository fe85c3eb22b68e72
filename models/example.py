"""A made-up row of a schema, to find out what a model returns before real rows come."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from .contract import Category, is_text


def example_batch(schema: pa.Schema, known: Mapping[str, Category] | None = None) -> pa.RecordBatch:
    """One row: zeros, text that spells zero, lists of these, and null where a type has neither.

    A list of no fixed length is null: nobody knows how long it has to be.

    Args:
        schema: of the row.
        known: values to have instead, by the names of their columns.

    >>> example_batch(pa.schema([("x", pa.float32()), ("name", pa.string())])).to_pylist()
    [{'x': 0.0, 'name': '0'}]
    """
    bare = schema.remove_metadata()
    known = known or {}
    arrays = [
        _known(known[field.name], field.type) if field.name in known else _array(field.type)
        for field in bare
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=bare)


def _known(value: Category, type_: pa.DataType) -> pa.Array:
    if pa.types.is_dictionary(type_):
        indices = pa.array([0], type_.index_type)
        values = _known(value, type_.value_type)
        return pa.DictionaryArray.from_arrays(indices, values, ordered=type_.ordered)
    return pa.array([value]).cast(type_)


def _array(type_: pa.DataType) -> pa.Array:
    if pa.types.is_dictionary(type_):
        indices = pa.array([0], type_.index_type)
        return pa.DictionaryArray.from_arrays(
            indices, _array(type_.value_type), ordered=type_.ordered
        )
    if pa.types.is_fixed_size_list(type_) and type_.list_size:
        values = pa.concat_arrays([_array(type_.value_type)] * type_.list_size)
        return pa.FixedSizeListArray.from_arrays(values, type=type_)
    value = _value(type_)
    return pa.nulls(1, type_) if value is None else pa.array([value], type_)


def _value(type_: pa.DataType) -> Any:
    if pa.types.is_boolean(type_):
        return False
    if pa.types.is_integer(type_) or pa.types.is_floating(type_) or pa.types.is_decimal(type_):
        return 0
    return "0" if is_text(type_) else None
