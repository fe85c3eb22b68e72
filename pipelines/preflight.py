"""Everything that is checked before a job starts; nothing is written here."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa

from scoreline.models.contract import Contract
from scoreline.models.errors import ContractError, ModelError, ModelOutputError
from scoreline.models.example import example_batch
from scoreline.models.handler import ColumnarModelHandler, Loaded
from scoreline.models.model import Model, ModelRef, is_code, load_model, pinned
from scoreline.models.restrict import Rule, restrict
from scoreline.models.tensors import shape_of
from scoreline.models.trust import Trust
from scoreline.transforms.encoders import check_encodable
from scoreline.transforms.file_formats import PART_EXTENSIONS, format_of
from scoreline.transforms.layout import FileLayout
from scoreline.transforms.output_columns import ROW_ID
from scoreline.transforms.splits import Split, plan_splits
from scoreline.transforms.storage import exists, is_local

from .errors import UsageError
from .fit import check_fit, input_columns
from .inputs import Input, inspect_input, opened
from .job import Job, PubSubSink, Sink
from .job_files import FilesSink
from .job_model import ColumnSpec
from .near import near_file, near_name
from .places import layouts_of
from .tables import Target, find_targets

_FLAG = "--features"


@dataclass(frozen=True)
class Prepared:
    """A job that can start.

    Attributes:
        job: as the user gave it.
        layouts: where its files go, for each sink.
        model: loaded here; workers load the same bytes or refuse.
        handler: for RunInference.
        contract: what `Conform` checks; empty where `preprocess` makes the features.
        input: its files and columns.
        splits: of the input, in order; of a table, only when the run has begun to read it.
        columns: the input columns to read, by their names in the files; all if None.
        output_schemas: of the predictions, for each sink.
        targets: the tables that the job writes to.
    """

    job: Job
    layouts: tuple[FileLayout, ...]
    model: Model
    handler: ColumnarModelHandler
    contract: Contract
    input: Input
    splits: tuple[Split, ...]
    columns: tuple[str, ...] | None
    output_schemas: tuple[pa.Schema, ...]
    targets: tuple[Target, ...] = ()

    @property
    def planned(self) -> dict[int, int]:
        """The rows of each split, where they are known before they are read."""
        limit = self.job.stored_source.limit
        return {
            split.number: min(rows, limit or rows)
            for split in self.splits
            if (rows := split.num_rows) is not None
        }

    @property
    def planned_rows(self) -> int | None:
        """The rows of an open table: BigQuery may count those, but not what each split has."""
        if self.input.format != "bigquery" or not self.input.files:
            return None
        (table,) = self.input.files
        rows = table.num_rows
        return None if rows is None else min(rows, self.job.stored_source.limit or rows)


def check(job: Job, removes: Sequence[str] = ()) -> Prepared:
    """Checks a job against its model and its input.

    Args:
        job: as the user gave it.
        removes: the final files that the run will replace.

    Raises:
        UsageError, ContractError, UnreadableFileError: the input does not satisfy the job.
        ModelError: the model is unfit.
    """
    source = job.stored_source
    model = load(job, lambda: inspect_input(source, Contract(())).schema)
    contract = contract_of(job, model)
    input_ = inspect_input(source, contract, removes)
    handler = handler_of(job, model)
    loaded = handler.load_model()
    check_fit(contract, input_, source, model.info.name)
    for sink in job.sinks:
        _check_keep(sink.keep, input_.schema)
    schemas = output_schemas(job, input_.schema, loaded)
    return Prepared(
        job=job,
        layouts=layouts_of(job),
        model=model,
        handler=handler,
        contract=contract,
        input=input_,
        splits=_splits(job, input_),
        columns=_columns(job, model, contract, input_),
        output_schemas=tuple(schemas),
        targets=find_targets(job, schemas),
    )


@contextmanager
def reading(prepared: Prepared, run_id: str, *, stays: bool = False) -> Iterator[Prepared]:
    """The job with all splits of its input, which can be read until this ends.

    Of files they are known already. A table is opened here: what is read is what it holds now, and
    what that takes is removed at the end, unless it stays for a job that goes on by itself.

    Raises:
        BigQueryError: it cannot be read.
    """
    with opened(prepared.input, prepared.columns, run_id, stays=stays) as input_:
        if input_ is prepared.input:
            yield prepared
        else:
            yield replace(prepared, input=input_, splits=_splits(prepared.job, input_))


def contract_of(job: Job, model: Model) -> Contract:
    """What rows must satisfy before the model: its own contract, and the job's on top of it.

    Where `preprocess` makes the features, the job's is of the columns that it gets.

    Raises:
        ContractError: the job's contract is about columns that the model does not take.
    """
    own = model.contract if job.model.preprocess is None else Contract(())
    rules = {name: _rule(spec) for name, spec in job.model.contract.items()}
    return restrict(own, rules, model.info.name)


def _rule(spec: ColumnSpec) -> Rule:
    return Rule(spec.type, not spec.nullable, spec.min, spec.max, spec.categories)


def handler_of(job: Job, model: Model) -> ColumnarModelHandler:
    """What workers call: they load the very bytes that were loaded here."""
    spec = job.model
    return ColumnarModelHandler(pinned(_model_ref(job), model), spec.preprocess, spec.postprocess)


def _splits(job: Job, input_: Input) -> tuple[Split, ...]:
    """One split where rows have to be counted off, or go to one file; none of a closed table."""
    if not input_.is_open:
        return ()
    files = [sink for sink in job.sinks if isinstance(sink, FilesSink)]
    one_file = any(format_of(sink.path) is not None for sink in files)
    single = one_file or job.stored_source.limit is not None
    return tuple(plan_splits(input_.files, single=single))


def load(job: Job, input_schema: Callable[[], pa.Schema] | None = None) -> Model:
    """Loads a job's model.

    Args:
        job: as the user gave it.
        input_schema: gives the input's columns, for a message to name them.

    Raises:
        ModelError: it is unfit.
        ContractError: it does not know its columns.
    """
    uri = job.model.uri
    if not is_code(uri):
        check_model_file(uri)
    try:
        return load_model(_model_ref(job), probe=True)
    except ContractError as error:
        if input_schema is None or job.model.features is not None or _FLAG not in str(error):
            raise
        raise ContractError(f"{error}{input_columns(input_schema())}") from None


def check_model_file(uri: str) -> None:
    """Raises ModelError if there is no file, with the nearest name that there is."""
    if is_local(uri) and not Path(uri).is_file():
        what = "is a folder" if Path(uri).is_dir() else "does not exist"
        raise ModelError(f"cannot read --model {uri}: it {what}{near_file(uri)}")
    if not is_local(uri) and _is_missing(uri):
        raise ModelError(f"cannot read --model {uri}: it does not exist{near_file(uri)}")


def _is_missing(uri: str) -> bool:
    try:
        return not exists(uri)
    except Exception:  # a store that does not answer: who reads the file says why
        return False


def _model_ref(job: Job) -> ModelRef:
    spec = job.model
    trust = Trust(
        spec.trust.sha256, spec.trust.allow_pickle, spec.trust.allow_code, spec.trust.skops_types
    )
    return ModelRef(spec.uri, trust, spec.outputs, spec.features)


def _check_keep(keep: tuple[str, ...] | None, schema: pa.Schema) -> None:
    for name in keep or ():
        if name not in schema.names:
            raise UsageError(
                f"--keep {name}: the input's columns are {schema.names}"
                f"{near_name(name, schema.names)}"
            )


def _columns(job: Job, model: Model, contract: Contract, input_: Input) -> tuple[str, ...] | None:
    """The columns that the model or a sink wants, by their names in the files."""
    keeps = [sink.keep for sink in job.sinks]
    takes_all = model.contract.layout == "batch"
    if takes_all or None in keeps or job.model.preprocess or job.model.postprocess:
        return job.stored_source.columns
    kept = [name for keep in keeps for name in keep or ()]
    wanted = dict.fromkeys([*kept, *contract.names])
    return tuple(input_.file_names[name] for name in wanted) or None


def output_schemas(job: Job, schema: pa.Schema, loaded: Loaded) -> list[pa.Schema]:
    """The schema of the predictions of each sink, found by scoring one made-up row.

    Where the model does not take the made-up row, the types of its outputs are left open.
    """
    added = _probe(schema, loaded)
    return [_output_schema(sink, schema, added) for sink in job.sinks]


def _output_schema(sink: Sink, schema: pa.Schema, outputs: list[pa.Field]) -> pa.Schema:
    names = schema.names if sink.keep is None else dict.fromkeys(sink.keep)
    kept = [schema.field(name) for name in names]
    has_row_id = isinstance(sink, PubSubSink) or sink.row_id
    added = [*outputs, pa.field(ROW_ID, pa.string())] if has_row_id else outputs
    clash = sorted({field.name for field in kept} & {field.name for field in added})
    if clash:
        raise UsageError(
            f"the input already has the columns {clash} that are to be written. Rename them with "
            "--rename, or leave them out with --keep."
        )
    written = pa.schema([*kept, *added])
    if isinstance(sink, FilesSink):
        _check_held(sink, written)
    return written


def _check_held(sink: FilesSink, schema: pa.Schema) -> None:
    named = format_of(sink.path) is not None
    name = sink.path if named else f"part{PART_EXTENSIONS[sink.format or 'parquet']}"
    try:
        check_encodable(name, schema)
    except (TypeError, ValueError, pa.ArrowException) as error:
        raise UsageError(f"the output {sink.path} cannot be written: {error}") from None


def _probe(schema: pa.Schema, loaded: Loaded) -> list[pa.Field]:
    version = pa.field("model_version", pa.dictionary(pa.int32(), pa.string()))
    contract = loaded.model.contract
    named = {feature.name: feature.example for feature in contract.features}
    known = {name: example for name, example in named.items() if example is not None}
    try:
        return list(loaded.score(example_batch(_as_taken(schema, contract), known)).schema)
    except ModelOutputError as error:
        raise ModelOutputError(f"tried with one made-up row before the start: {error}") from error
    except Exception:  # the model's own code: any row but a made-up one may be fine
        return [pa.field("prediction", pa.null()), version]


def _as_taken(schema: pa.Schema, contract: Contract) -> pa.Schema:
    """The schema with lists as long as the model takes them, where they may be of any length."""
    types = {
        feature.name: feature.type for feature in contract.features if feature.kind == "tensor"
    }
    fields = [
        field.with_type(types[field.name])
        if field.name in types and None in shape_of(field.type)
        else field
        for field in schema
    ]
    return pa.schema(fields)
