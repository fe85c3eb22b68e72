"""A made-up row of a schema, to find out what a model returns before real rows come."""

from typing import Any

import pyarrow as pa


def example_batch(schema: pa.Schema) -> pa.RecordBatch:
    """One row: zeros, empty text, and null where a type has neither.

    >>> example_batch(pa.schema([("x", pa.float32()), ("name", pa.string())])).to_pylist()
    [{'x': 0.0, 'name': ''}]
    """
    bare = schema.remove_metadata()
    arrays = [pa.array([_value(field.type)], field.type) for field in bare]
    return pa.RecordBatch.from_arrays(arrays, schema=bare)


def _value(type_: pa.DataType) -> Any:
    if pa.types.is_dictionary(type_):
        return _value(type_.value_type)
    if pa.types.is_boolean(type_):
        return False
    if pa.types.is_integer(type_) or pa.types.is_floating(type_) or pa.types.is_decimal(type_):
        return 0
    if pa.types.is_string(type_) or pa.types.is_large_string(type_):
        return ""
    return None
