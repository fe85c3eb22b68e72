"""One schema for all files of an input."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import pyarrow as pa

from .file_formats import FileInfo
from .formats.settled import settled
from .text_files import TextInfo

Info = TypeVar("Info", bound=FileInfo)


class SchemaMismatchError(ValueError):
    """Two files of an input whose columns cannot be those of one table."""


def with_one_schema(infos: Sequence[FileInfo]) -> list[FileInfo]:
    """Gives all files the same columns and types.

    Parquet and Avro files say their types: they must be equal. Those of text files are only told
    from their first lines, so they are widened until they fit all. A file without a value in a
    column says nothing of its type. Whole numbers and fractions together are fractions. Where
    types do not go together, a CSV column is text; a JSON column has the type that it has in the
    first file, and what does not fit are malformed records. JSON files may lack columns that others
    have; the columns of CSV files may come in any order.

    Raises:
        SchemaMismatchError: names the columns that differ, with their types in two files.
    """
    texts = [info for info in infos if isinstance(info, TextInfo)]
    if len(texts) == len(infos) and texts:
        return list(_unified(texts))
    first = infos[0]
    for info in infos[1:]:
        if not info.schema.equals(first.schema):
            raise SchemaMismatchError(_difference(first, info))
    return list(infos)


def _unified(infos: list[TextInfo]) -> list[TextInfo]:
    first = infos[0]
    is_csv = first.reading.format == "csv"
    types: dict[str, pa.DataType] = {}
    for info in infos:
        if is_csv and set(info.schema.names) != set(first.schema.names):
            raise SchemaMismatchError(_difference(first, info))
        for field in info.reading.schema:
            known = types.setdefault(field.name, field.type)
            types[field.name] = _wider(known, field.type, is_csv=is_csv)
    schema = settled(pa.schema(list(types.items())))  # a CSV file's own order is in its dialect
    return [replace(info, reading=replace(info.reading, schema=schema)) for info in infos]


def _wider(left: pa.DataType, right: pa.DataType, *, is_csv: bool) -> pa.DataType:
    """A type for the values of both; the left one if JSON has none."""
    if left.equals(right) or pa.types.is_null(right):
        return left
    if pa.types.is_null(left):
        return right
    if _is_number(left) and _is_number(right):
        # Of int64 and uint64 the latter: as fractions, numbers of that size would be rounded.
        are_whole = pa.types.is_integer(left) and pa.types.is_integer(right)
        return pa.uint64() if are_whole else pa.float64()
    if is_csv:
        return pa.string()
    if pa.types.is_list(left) and pa.types.is_list(right):
        return pa.list_(_wider(left.value_type, right.value_type, is_csv=False))
    if pa.types.is_struct(left) and pa.types.is_struct(right):
        members = {field.name: field.type for field in left}
        for field in right:
            known = members.setdefault(field.name, field.type)
            members[field.name] = _wider(known, field.type, is_csv=False)
        return pa.struct(list(members.items()))
    return left


def _is_number(type_: pa.DataType) -> bool:
    return pa.types.is_integer(type_) or pa.types.is_floating(type_)


def _difference(first: FileInfo, other: FileInfo) -> str:
    left = {field.name: str(field.type) for field in first.schema}
    right = {field.name: str(field.type) for field in other.schema}
    lines = [
        f"  {name}: {left.get(name, 'missing')} in {first.path}, "
        f"{right.get(name, 'missing')} in {other.path}"
        for name in dict.fromkeys([*left, *right])
        if left.get(name) != right.get(name)
    ]
    detail = "\n".join(lines) or "  the order or the nullability of the columns"
    return (
        f"the input files differ in their columns:\n{detail}\nScore them in separate runs, or "
        "rewrite them with one schema."
    )
