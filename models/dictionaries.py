"""Dictionary-encoded columns as the plain ones that they stand for."""

import pyarrow as pa
import pyarrow.compute as pc


def decode_dictionary(column: pa.Array) -> pa.Array:
    """Turns a dictionary column into a plain one; any other column is returned as it is.

    >>> decode_dictionary(pa.array(["a", "b", "a"]).dictionary_encode()).to_pylist()
    ['a', 'b', 'a']
    """
    if not pa.types.is_dictionary(column.type):
        return column
    return _decodable(column).dictionary_decode()


def clean_dictionary(column: pa.Array) -> pa.Array:
    """Turns a dictionary column into one that pandas can take; any other column stays as it is.

    pandas refuses categories that are missing or of half precision, Arrow does not.
    """
    if not pa.types.is_dictionary(column.type):
        return column
    value_type = column.type.value_type
    if pa.types.is_float16(value_type) or pa.types.is_null(value_type):
        return column.dictionary_decode()
    column = _decodable(column)
    missing = column.dictionary.is_null(nan_is_null=True)
    if not pc.any(missing).as_py():
        return column
    values = pc.if_else(missing, None, column.dictionary)
    return (
        pa.DictionaryArray.from_arrays(column.indices, values)
        .dictionary_decode()
        .dictionary_encode()
    )


def _decodable(column: pa.DictionaryArray) -> pa.DictionaryArray:
    """Arrow cannot take from string views: as strings it can."""
    if not pa.types.is_string_view(column.type.value_type):
        return column
    return pa.DictionaryArray.from_arrays(column.indices, column.dictionary.cast(pa.string()))
