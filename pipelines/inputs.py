"""The input of a job: its files, their format, and the columns that the job sees."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pyarrow as pa

from scoreline.models.conformance import as_numbers
from scoreline.models.contract import Contract
from scoreline.models.errors import ContractError
from scoreline.models.reserved import PREFIX
from scoreline.transforms.file_formats import FileFormat, FileInfo, format_of, inspector
from scoreline.transforms.formats.csv_dialect import CsvDialect
from scoreline.transforms.match_files import match_files
from scoreline.transforms.schemas import SchemaMismatchError, with_one_schema
from scoreline.transforms.storage import size_of
from scoreline.transforms.text_files import TextInfo

from .errors import UsageError
from .job import CsvSpec, FilesSource
from .near import near_file, near_name

_HEAD_THREADS = 16  # heads are small: the wait for an object store is what takes the time


@dataclass(frozen=True)
class Input:
    """The files of a job and the columns that the job sees.

    Attributes:
        format: of all files.
        files: what each says of itself, in the order in which they are read.
        schema: the columns as the job names them.
        file_names: the name of each column in the files, by the job's name for it.
    """

    format: FileFormat
    files: tuple[FileInfo, ...]
    schema: pa.Schema
    file_names: dict[str, str]


def inspect_input(source: FilesSource, contract: Contract) -> Input:
    """Reads the heads of all files that a source names.

    Args:
        source: of the job.
        contract: of the model; what it takes as numbers is read from text as such.

    Raises:
        UsageError: no such file, formats that are not clear or differ, columns that do not fit.
        UnreadableFileError: a file that is not what its name says.
    """
    paths = list(dict.fromkeys(path for pattern in source.path for path in _match(pattern)))
    format_ = source.format or _common_format(paths)
    inspect = inspector(format_, _dialect(source.csv))
    with ThreadPoolExecutor(min(_HEAD_THREADS, len(paths))) as pool:
        infos = list(pool.map(inspect, _not_empty(paths, format_)))
    try:
        files = with_one_schema(infos)
    except SchemaMismatchError as error:
        raise UsageError(str(error)) from None
    _check_names(files[0])
    file_names = _file_names(source, files[0].schema.names)
    files = [_typed(info, contract, file_names) for info in files]
    fields = [files[0].schema.field(name).with_name(new) for new, name in file_names.items()]
    return Input(format_, tuple(files), pa.schema(fields), file_names)


def _match(pattern: str) -> list[str]:
    paths = match_files(pattern)
    if not paths:
        raise UsageError(f"no file matches --input {pattern}{near_file(pattern)}")
    return paths


def _common_format(paths: list[str]) -> FileFormat:
    formats = {path: format_of(path) for path in paths}
    unknown = [path for path, found in formats.items() if found is None]
    if unknown:
        raise UsageError(
            f"the extension of {unknown[0]} names no format: give --input-format parquet, json, "
            "csv or avro."
        )
    first = formats[paths[0]]
    for path, found in formats.items():
        if found != first:
            raise UsageError(
                f"the input has files of several formats: {paths[0]} is {first}, {path} is "
                f"{found}. Score them in separate runs, or say with --input-format what they are."
            )
    assert first is not None
    return first


def _not_empty(paths: list[str], format_: FileFormat) -> list[str]:
    """Text files of no bytes hold no rows; but one must say which columns there are."""
    if format_ not in ("json", "csv"):
        return paths
    filled = [path for path in paths if size_of(path)]
    if not filled:
        raise UsageError(f"{paths[0]} is empty (0 bytes), and no other input file has columns")
    return filled


def _dialect(spec: CsvSpec) -> CsvDialect:
    try:
        return CsvDialect(
            delimiter=spec.delimiter,
            quote=spec.quote or None,
            header=spec.header,
            names=spec.names or (),
            null_values=spec.null_values,
            newlines_in_values=spec.newlines_in_values,
        )
    except ValueError as error:
        raise UsageError(str(error)) from None


def _check_names(info: FileInfo) -> None:
    names = info.schema.names
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise UsageError(
            f"{info.path} has several columns of one name: {repeated}. It could not be told which "
            "one the model takes: rename them in the input."
        )


def _file_names(source: FilesSource, names: Sequence[str]) -> dict[str, str]:
    """The columns to see, by the name that the job gives them."""
    for name in (*(source.columns or ()), *source.rename):
        if name not in names:
            raise UsageError(
                f"the input has no column {name!r}{near_name(name, names)}; it has {list(names)}"
            )
    chosen = list(source.columns or names)
    renamed = [source.rename.get(name, name) for name in chosen]
    twice = sorted({name for name in renamed if renamed.count(name) > 1})
    if twice:
        raise UsageError(f"after source.rename (--rename) several columns are named {twice}")
    reserved = [name for name in renamed if name.startswith(PREFIX)]
    if reserved:
        raise UsageError(
            f"the input has the columns {reserved}, but names that start with {PREFIX} are "
            "scoreline's own: rename them."
        )
    return dict(zip(renamed, chosen, strict=True))


def _typed(info: FileInfo, contract: Contract, file_names: dict[str, str]) -> FileInfo:
    """Reads as fractions what the model takes as numbers: a later row may have one."""
    if not isinstance(info, TextInfo):
        return info
    numbers = [
        file_names[feature.name]
        for feature in contract.features
        if feature.kind == "number" and feature.name in file_names
    ]
    types: dict[str, pa.DataType] = {}
    for name in numbers:
        type_ = info.schema.field(name).type
        if pa.types.is_string(type_) and info.reading.format == "csv":
            _check_has_number(info, name)
            types[name] = pa.float64()
        elif pa.types.is_integer(type_):
            types[name] = pa.float64()
    return info.typed(types)


def _check_has_number(info: TextInfo, name: str) -> None:
    """Refuses a column of text, such as dates, before every row of it becomes a dead letter."""
    head = next(iter(info.head((name,))), None)
    if head is None:
        return
    column = head.column(name)
    numbers, _ = as_numbers(column)
    if column.null_count < len(column) and numbers.null_count == len(numbers):
        example = column.drop_null()[0].as_py()
        raise ContractError(
            f"the model takes a number in column {name!r}, but {info.path} has text there, such as "
            f"{example!r}. Turn it into numbers in the input, or with --preprocess."
        )
