"""String and binary views as the plain strings that they stand for.

Arrow can read, write and cast views, but has no kernel that takes rows of them: a batch that holds
one could not be parted into good and rejected rows.
"""

import pyarrow as pa


def plain_schema(schema: pa.Schema) -> pa.Schema:
    """Turns the views of a schema, nested ones too, into strings and binaries.

    >>> plain_schema(pa.schema([("name", pa.string_view()), ("x", pa.int8())])).types
    [DataType(string), DataType(int8)]
    """
    return pa.schema([_plain_field(field) for field in schema], schema.metadata)


def _plain_field(field: pa.Field) -> pa.Field:
    return field.with_type(_plain_type(field.type))


def _plain_type(type_: pa.DataType) -> pa.DataType:
    if pa.types.is_string_view(type_):
        return pa.string()
    if pa.types.is_binary_view(type_):
        return pa.binary()
    if pa.types.is_struct(type_):
        return pa.struct([_plain_field(field) for field in type_])
    if pa.types.is_map(type_):
        key, item = _plain_field(type_.key_field), _plain_field(type_.item_field)
        return pa.map_(key, item, type_.keys_sorted)
    if pa.types.is_fixed_size_list(type_):
        return pa.list_(_plain_field(type_.value_field), type_.list_size)
    if pa.types.is_list(type_):
        return pa.list_(_plain_field(type_.value_field))
    if pa.types.is_large_list(type_):
        return pa.large_list(_plain_field(type_.value_field))
    return type_
