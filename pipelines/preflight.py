"""Everything that is checked before a job starts; nothing is written here."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from scoreline.models.contract import Contract
from scoreline.models.errors import ModelError, ModelOutputError
from scoreline.models.example import example_batch
from scoreline.models.handler import ColumnarModelHandler, Loaded
from scoreline.models.model import Model, ModelRef, load_model, pinned
from scoreline.models.reserved import PREFIX
from scoreline.models.trust import Trust
from scoreline.transforms.layout import EXTENSION, FileLayout
from scoreline.transforms.match_files import match_files
from scoreline.transforms.output_columns import ROW_ID
from scoreline.transforms.parquet_files import ParquetInfo, Split, inspect_parquet, plan_splits
from scoreline.transforms.storage import is_local

from .errors import UsageError
from .job import Job
from .near import near_file, near_name

_FOOTER_THREADS = 16  # footers are small: the wait for an object store is what takes the time


@dataclass(frozen=True)
class Prepared:
    """A job that can start.

    Attributes:
        job: as the user gave it.
        layout: where its files go.
        model: loaded here; workers load the same bytes or refuse.
        handler: for RunInference.
        contract: what `Conform` checks; empty where `preprocess` makes the features.
        splits: of the input, in order.
        columns: the input columns to read, all if None.
        output_schema: of the predictions.
    """

    job: Job
    layout: FileLayout
    model: Model
    handler: ColumnarModelHandler
    contract: Contract
    splits: tuple[Split, ...]
    columns: tuple[str, ...] | None
    output_schema: pa.Schema


def layout_of(job: Job) -> FileLayout:
    """Where a job's files go.

    Raises:
        UsageError: they would lie among each other.
    """
    try:
        return FileLayout(job.sinks[0].path, job.dead_letters.path, job.report.path)
    except ValueError as error:
        raise UsageError(str(error)) from None


def check_places(layout: FileLayout) -> None:
    """Checks that each place can be what its name says: a folder, or one file.

    Raises:
        UsageError: a file is where a folder has to be, or the other way round.
    """
    for flag, path in (
        ("--output", layout.output),
        ("--dead-letters", layout.dead_letter_path),
        ("--report", layout.run_root),
    ):
        is_file = path.endswith(EXTENSION) and flag != "--report"
        if not is_local(path):
            continue
        if is_file and Path(path).is_dir():
            raise UsageError(
                f"{flag} {path} names one file, but there is a folder of that name. Choose a name "
                f"that does not end in {EXTENSION} for a folder, or a new name."
            )
        above = Path(path).parent if is_file else Path(path)
        blocking = [folder for folder in (above, *above.parents) if folder.is_file()]
        if blocking:
            raise UsageError(
                f"{flag} {path} cannot be a place to write to: {blocking[0]} is a file, not a "
                f"folder. Choose a folder, or one file whose name ends in {EXTENSION}."
            )


def check(job: Job) -> Prepared:
    """Checks a job against its model and its input.

    Raises:
        UsageError, ContractError, UnreadableFileError: the input does not satisfy the job.
        ModelError: the model is unfit.
    """
    infos = inspect_inputs(job.source.path)
    schema = common_schema(infos)
    model = _load(job)
    handler = ColumnarModelHandler(
        pinned(_model_ref(job), model), job.model.preprocess, job.model.postprocess
    )
    loaded = handler.load_model()
    sink = job.sinks[0]
    if job.model.preprocess is None:
        model.contract.check(schema, model.info.name)
    _check_keep(sink.keep, schema)
    layout = layout_of(job)
    return Prepared(
        job=job,
        layout=layout,
        model=model,
        handler=handler,
        contract=model.contract if job.model.preprocess is None else Contract(()),
        splits=tuple(plan_splits(infos, single=layout.is_one_file)),
        columns=_columns(job, model),
        output_schema=_output_schema(job, schema, loaded),
    )


def _load(job: Job) -> Model:
    uri = job.model.uri
    if is_local(uri) and not Path(uri).is_file():
        what = "is a folder" if Path(uri).is_dir() else "does not exist"
        raise ModelError(f"cannot read --model {uri}: it {what}{near_file(uri)}")
    return load_model(_model_ref(job))


def _model_ref(job: Job) -> ModelRef:
    spec = job.model
    trust = Trust(
        spec.trust.sha256, spec.trust.allow_pickle, spec.trust.allow_code, spec.trust.skops_types
    )
    return ModelRef(spec.uri, trust, spec.outputs, spec.features)


def inspect_inputs(patterns: tuple[str, ...]) -> list[ParquetInfo]:
    """Reads the footers of all files that the patterns name, in the order of the patterns."""
    paths = list(dict.fromkeys(path for pattern in patterns for path in _match(pattern)))
    with ThreadPoolExecutor(min(_FOOTER_THREADS, len(paths))) as pool:
        return list(pool.map(inspect_parquet, paths))


def _match(pattern: str) -> list[str]:
    paths = match_files(pattern)
    if not paths:
        raise UsageError(f"no file matches --input {pattern}{near_file(pattern)}")
    return paths


def common_schema(infos: list[ParquetInfo]) -> pa.Schema:
    """The schema that all files share.

    Raises:
        UsageError: two files differ, a name stands twice, or a name is ours.
    """
    first = infos[0]
    for info in infos[1:]:
        if info.schema.remove_metadata() != first.schema.remove_metadata():
            raise UsageError(_difference(first, info))
    names = first.schema.names
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise UsageError(
            f"{first.path} has several columns of one name: {repeated}. It could not be told which "
            "one the model takes: rename them in the input."
        )
    reserved = [name for name in names if name.startswith(PREFIX)]
    if reserved:
        raise UsageError(
            f"{first.path} has the columns {reserved}, but names that start with {PREFIX} are "
            "scoreline's own: rename them in the input."
        )
    return first.schema


def _difference(first: ParquetInfo, other: ParquetInfo) -> str:
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


def _check_keep(keep: tuple[str, ...] | None, schema: pa.Schema) -> None:
    for name in keep or ():
        if name not in schema.names:
            raise UsageError(
                f"--keep {name}: the input's columns are {schema.names}"
                f"{near_name(name, schema.names)}"
            )


def _columns(job: Job, model: Model) -> tuple[str, ...] | None:
    keep = job.sinks[0].keep
    if keep is None or job.model.preprocess is not None or job.model.postprocess is not None:
        return None
    return tuple(dict.fromkeys([*keep, *model.contract.names]))


def _output_schema(job: Job, schema: pa.Schema, loaded: Loaded) -> pa.Schema:
    """The schema of the predictions, found by scoring one made-up row.

    Where the model does not take the made-up row, the types of its outputs are left open.
    """
    sink = job.sinks[0]
    names = schema.names if sink.keep is None else dict.fromkeys(sink.keep)
    kept = [schema.field(name) for name in names]
    added = _probe(schema, loaded)
    if sink.row_id:
        added.append(pa.field(ROW_ID, pa.string()))
    clash = sorted({field.name for field in kept} & {field.name for field in added})
    if clash:
        raise UsageError(
            f"the input already has the columns {clash} that are to be written. Rename them in the "
            "input, or leave them out with --keep."
        )
    return pa.schema([*kept, *added])


def _probe(schema: pa.Schema, loaded: Loaded) -> list[pa.Field]:
    version = pa.field("model_version", pa.dictionary(pa.int32(), pa.string()))
    try:
        return list(loaded.score(example_batch(schema)).schema)
    except ModelOutputError:
        raise
    except Exception:  # the model's own code: any row but a made-up one may be fine
        return [pa.field("prediction", pa.null()), version]
