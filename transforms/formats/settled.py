"""Gives columns a type to read with, where a sample of their file showed no value."""

import pyarrow as pa


def settled(schema: pa.Schema) -> pa.Schema:
    """Turns a schema that was told from samples into one to read with: what has no value is text.

    >>> settled(pa.schema({"x": pa.null(), "y": pa.list_(pa.null())})).types
    [DataType(string), ListType(list<item: string>)]
    """
    return pa.schema([field.with_type(_settled(field.type)) for field in schema])


def _settled(type_: pa.DataType) -> pa.DataType:
    if pa.types.is_null(type_):
        return pa.string()
    if pa.types.is_struct(type_):
        return pa.struct([field.with_type(_settled(field.type)) for field in type_])
    if pa.types.is_list(type_):
        return pa.list_(_settled(type_.value_type))
    return type_
