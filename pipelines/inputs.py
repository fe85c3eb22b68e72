"""The input of a job: its files or its table, and the columns that the job sees."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal

import pyarrow as pa

from scoreline.models.contract import Contract
from scoreline.models.errors import ContractError
from scoreline.models.numeric import as_numbers
from scoreline.models.reserved import PREFIX
from scoreline.transforms.bigquery.credentials import check_emulators
from scoreline.transforms.bigquery.errors import BigQueryError
from scoreline.transforms.bigquery.names import TableName
from scoreline.transforms.bigquery_input import (
    OpenTable,
    TableInfo,
    inspect_query,
    inspect_table,
)
from scoreline.transforms.file_formats import FileFormat, FileInfo, format_of, inspector
from scoreline.transforms.formats.csv_dialect import CsvDialect
from scoreline.transforms.match_files import match_files
from scoreline.transforms.schemas import SchemaMismatchError, with_one_schema
from scoreline.transforms.storage import absolute
from scoreline.transforms.text_files import TextInfo

from .errors import UsageError
from .heads import read_heads
from .job import StoredSource
from .job_bigquery import BigQuerySource
from .job_files import CsvSpec
from .near import near_file, near_name
from .tables import asked

_LOGGER = logging.getLogger(__name__)
_PROBED_FILES = 16  # of so many files a look at the first rows tells text from numbers


@dataclass(frozen=True)
class Input:
    """What a job reads, and the columns that it sees.

    Attributes:
        format: of all files; `bigquery` for a table or what a query gives.
        files: what each says of itself, in the order in which they are read.
        schema: the columns as the job names them.
        file_names: the name of each column in the files, by the job's name for it.
        left_out: the columns of the files that the job does not read.
        table: the table that is read instead of files, until it is opened.
    """

    format: FileFormat | Literal["bigquery"]
    files: tuple[FileInfo, ...]
    schema: pa.Schema
    file_names: dict[str, str]
    left_out: tuple[str, ...] = ()
    table: TableInfo | None = None

    @property
    def is_open(self) -> bool:
        """Whether its pieces are known."""
        return self.table is None


def inspect_input(source: StoredSource, contract: Contract, removes: Sequence[str] = ()) -> Input:
    """Reads the heads of all files that a source names, or asks for a table's columns.

    Args:
        source: of the job.
        contract: of the model; what it takes as numbers is read from text as such.
        removes: the files that the run will replace.

    Raises:
        UsageError: no such file, formats that are not clear or differ, columns that do not fit.
        UnreadableFileError: a file that is not what its name says.
    """
    if isinstance(source, BigQuerySource):
        return _inspect_table(source)
    paths = _each_once(path for pattern in source.path for path in _match(pattern))
    _check_is_not_output(paths, removes)
    format_ = source.format or _common_format(paths)
    infos = read_heads(paths, format_, inspector(format_, dialect_of(source.csv)))
    try:
        files = with_one_schema(infos)
    except SchemaMismatchError as error:
        raise UsageError(str(error)) from None
    _check_names(files[0])
    file_names = _file_names(source, files[0].schema.names)
    files = _typed(files, contract, file_names)
    schema, left_out = _seen(files[0].schema, file_names)
    return Input(format_, tuple(files), schema, file_names, left_out)


def _seen(schema: pa.Schema, file_names: dict[str, str]) -> tuple[pa.Schema, tuple[str, ...]]:
    """The columns as the job names them, and those that it does not read."""
    fields = [schema.field(name).with_name(new) for new, name in file_names.items()]
    read = set(file_names.values())
    return pa.schema(fields), tuple(name for name in schema.names if name not in read)


def _inspect_table(source: BigQuerySource) -> Input:
    with asked(f"--input bq://{source.table}" if source.table else "source.query"):
        check_emulators()
        if source.table is not None:
            info = inspect_table(TableName.parse(source.table), source.row_filter)
        else:
            assert source.query is not None  # the job was checked
            info = inspect_query(source.query, source.temp_dataset)
    if source.row_filter is not None:
        with asked(f"--row-filter {source.row_filter!r}"):
            info.bytes_scanned()  # refuses a filter that is none, before any table is made
    _check_names(info)
    file_names = _file_names(source, info.schema.names)
    schema, left_out = _seen(info.schema, file_names)
    return Input("bigquery", (), schema, file_names, left_out, info)


@contextmanager
def opened(
    input_: Input, columns: tuple[str, ...] | None, run_id: str, *, stays: bool
) -> Iterator[Input]:
    """The input with all its pieces, which can be read until this ends.

    Args:
        input_: of a job; one of files is open already.
        columns: to read of a table, by their names there; all if None.
        run_id: stands in the names of temporary tables.
        stays: whether they are left to expire, as somebody else reads them.

    Raises:
        BigQueryError: the table cannot be read, or the query fails.
    """
    if input_.table is None:
        yield input_
        return
    table = input_.table.open(run_id, columns)
    try:
        yield replace(input_, files=(table,), table=None)
    finally:
        if not stays:
            _close(table)


def _close(table: OpenTable) -> None:
    """Removes what reading a table took; where that is refused, it is said, and nothing fails."""
    try:
        table.close()
    except BigQueryError as error:
        _LOGGER.warning("%s It expires by itself.", error)


def _check_is_not_output(paths: list[str], removes: Sequence[str]) -> None:
    replaced = set(map(absolute, removes))
    both = [path for path in paths if absolute(path) in replaced]
    if both:
        raise UsageError(
            f"{both[0]} is both input and output. Choose another --output, or name the input so "
            "that it leaves the output out."
        )


def _each_once(paths: Iterable[str]) -> list[str]:
    """A file that is named twice, maybe in other words, is read once."""
    found: dict[str, str] = {}
    for path in paths:
        found.setdefault(absolute(path), path)
    return list(found.values())


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


def dialect_of(spec: CsvSpec) -> CsvDialect:
    """How CSV is written, by the job.

    Raises:
        UsageError: it cannot be written like that.
    """
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


def _file_names(source: StoredSource, names: Sequence[str]) -> dict[str, str]:
    """The columns to see, by the name that the job gives them."""
    for name in (*(source.columns or ()), *source.rename):
        if name not in names:
            raise UsageError(
                f"the input has no column {name!r}: it has {list(names)}{near_name(name, names)}"
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


def _typed(
    files: Sequence[FileInfo], contract: Contract, file_names: dict[str, str]
) -> list[FileInfo]:
    """Reads as fractions what the model takes as numbers: a later row may have one.

    CSV does not say what is text: what the model knows as text is read as such.
    """
    texts = [info for info in files if isinstance(info, TextInfo)]
    if not texts:
        return list(files)
    is_csv = texts[0].reading.format == "csv"
    types: dict[str, pa.DataType] = {}
    for feature in contract.features:
        name = file_names.get(feature.name)
        if name is None:
            continue
        type_ = texts[0].schema.field(name).type
        if feature.reads_text and is_csv:
            types[name] = pa.string()
        elif feature.reads_numbers and pa.types.is_string(type_):
            _check_has_number(texts, name)
            if is_csv or feature.kind != "number":  # text that spells a number is none of those
                types[name] = pa.float64()
        elif feature.kind == "number" and pa.types.is_integer(type_):
            types[name] = pa.float64()
    return [info.typed(types) for info in texts]


def _check_has_number(infos: list[TextInfo], name: str) -> None:
    """Refuses a column of text, such as dates, before every row of it becomes a dead letter."""
    example: tuple[str, str] | None = None
    for info in infos[:_PROBED_FILES]:
        for batch in info.head((name,)):
            column = batch.column(name)
            numbers, _ = as_numbers(column)
            if numbers.null_count < len(numbers):
                return
            if example is None and column.null_count < len(column):
                example = info.path, column.drop_null()[0].as_py()
    if example is not None:
        raise ContractError(
            f"the model takes a number in column {name!r}, but {example[0]} has text there, such "
            f"as {example[1]!r}. Turn it into numbers in the input, or with --preprocess "
            "(model.preprocess)."
        )
