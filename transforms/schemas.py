"""One schema for all files of an input."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import pyarrow as pa

from .file_formats import FileInfo
from .text_files import TextInfo

Info = TypeVar("Info", bound=FileInfo)


class SchemaMismatchError(ValueError):
    """Two files of an input whose columns cannot be those of one table."""


def with_one_schema(infos: Sequence[FileInfo]) -> list[FileInfo]:
    """Gives all files the same columns and types.

    Parquet and Avro files say their types: they must be equal. Those of text files are only told
    from their first lines, so they are widened until they fit all: whole numbers and fractions
    together are fractions. JSON files may lack columns that others have.

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
    types: dict[str, pa.DataType] = {}
    for info in infos:
        if info.reading.format == "csv" and set(info.schema.names) != set(first.schema.names):
            raise SchemaMismatchError(_difference(first, info))
        for field in info.schema:
            known = types.setdefault(field.name, field.type)
            types[field.name] = _wider(known, field.type, is_csv=info.reading.format == "csv")
    schema = pa.schema(list(types.items()))  # a CSV file's own order is in its dialect
    return [replace(info, reading=replace(info.reading, schema=schema)) for info in infos]


def _wider(left: pa.DataType, right: pa.DataType, *, is_csv: bool) -> pa.DataType:
    """A type for the values of both; JSON text was only a guess where every value was null."""
    if left.equals(right):
        return left
    if pa.types.is_string(left) or pa.types.is_string(right):
        other = right if pa.types.is_string(left) else left
        return pa.string() if is_csv else other
    pair = [pa.schema([("x", left)]), pa.schema([("x", right)])]
    try:
        return pa.unify_schemas(pair, promote_options="permissive").field("x").type
    except (pa.ArrowTypeError, pa.ArrowInvalid):
        return pa.string()


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
