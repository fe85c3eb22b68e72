"""The one handler that Beam's RunInference sees: whole batches in, whole batches out."""

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from apache_beam.ml.inference.base import ModelHandler

from .callables import load_callable
from .conformance import check_conformance
from .contract import Contract
from .errors import ContractError, ModelOutputError, RowCountError
from .model import Model, ModelRef, load_model
from .reserved import CAST_PREFIX, ERROR_CLASS, ERROR_MESSAGE, user_columns, with_metadata
from .scoring import Poison, check_rows_are_to_blame, score_rows
from .trust import check_code

BatchFunction = Callable[[pa.RecordBatch], pa.RecordBatch]
_VERSION = "model_version"


class Loaded:
    """A model with the user's functions around it: what one worker process shares."""

    def __init__(
        self, model: Model, preprocess: BatchFunction | None, postprocess: BatchFunction | None
    ):
        self.model = model
        self.preprocess = preprocess
        self.postprocess = postprocess
        self.has_scored = False  # any row, in this process

    def score(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Turns input columns into output columns: preprocess, model, postprocess, version."""
        seen = user_columns(batch)
        outputs = self.model.score(self._features(batch, seen))
        if self.postprocess is not None:
            outputs = _new_columns(_call(self.postprocess, _beside(seen, outputs)), seen)
            if _VERSION in outputs.schema.names:
                raise ModelOutputError(f"postprocess writes {_VERSION!r}, which is ours: rename it")
        return outputs.append_column(_VERSION, _constant(self.model.info.version, batch))

    def _features(self, batch: pa.RecordBatch, seen: pa.RecordBatch) -> pa.RecordBatch:
        takes_all = self.model.contract.layout == "batch"
        if self.preprocess is None:
            names = seen.schema.names if takes_all else self.model.contract.names
            return _with_casts(batch, names)
        features = _call(self.preprocess, seen)
        try:
            self.model.contract.check(features.schema, self.model.info.name)
        except ContractError as error:  # no row's fault: it must not be taken for a poison row
            raise ModelOutputError(f"what preprocess returned does not fit: {error}") from error
        return _conform(features, self.model.contract)


class ColumnarModelHandler(ModelHandler[pa.RecordBatch, pa.RecordBatch, Loaded]):
    """Scores a RecordBatch at a time. Rows that the model fails on come back as a second batch.

    The scored batch is the input batch with the outputs' columns and `model_version` behind, less
    the rows that failed; a batch of the failed rows has `rejected` in its metadata and the error in
    two reserved columns. Scored rows plus failed rows are always the input's rows, in order.

    Args:
        ref: the model.
        preprocess: `package.module:function`, from the input columns to the model's.
        postprocess: `package.module:function`, from input and output columns to what is written.
            Input columns in what it returns are left out: they are written as they came.

    Raises:
        UntrustedModelError: a function was named but the trust does not allow code.
    """

    def __init__(
        self, ref: ModelRef, preprocess: str | None = None, postprocess: str | None = None
    ):
        super().__init__()
        for reference in (preprocess, postprocess):
            if reference is not None:
                check_code(reference, ref.trust)
        self._ref = ref
        self._preprocess = preprocess
        self._postprocess = postprocess

    def load_model(self) -> Loaded:
        """Loads model and functions; once per process, as Beam shares what this returns."""
        return Loaded(
            load_model(self._ref),
            load_callable(self._preprocess) if self._preprocess else None,
            load_callable(self._postprocess) if self._postprocess else None,
        )

    def run_inference(
        self,
        batch: Sequence[pa.RecordBatch] | pa.RecordBatch,
        model: Loaded,
        inference_args: dict[str, Any] | None = None,  # noqa: ARG002  Beam passes it
    ) -> Iterable[pa.RecordBatch]:
        """Scores one batch; see the class."""
        assert isinstance(batch, pa.RecordBatch)
        outputs, rows, poison = score_rows(batch, model.score)
        results = []
        if outputs is None and not model.has_scored:
            check_rows_are_to_blame(poison)
        if outputs is not None:
            model.has_scored = True
            kept = batch if len(rows) == batch.num_rows else batch.take(pa.array(rows))
            scored = _beside(kept, outputs)
            results.append(with_metadata(scored, outputs=json.dumps(outputs.schema.names)))
        if poison:
            results.append(_rejected(batch, poison, model.model.info.version))
        return results

    def should_skip_batching(self) -> bool:
        """Elements are batches already."""
        return True

    def get_num_bytes(self, batch: Any) -> int:
        """The size of the batch's buffers; Beam's default would pickle it to find out."""
        return int(batch.nbytes)

    def get_metrics_namespace(self) -> str:
        """One namespace, whatever the model."""
        return "scoreline"


def _rejected(batch: pa.RecordBatch, poison: list[Poison], version: str) -> pa.RecordBatch:
    rows = batch.take(pa.array([found.row for found in poison], pa.int64()))
    rows = rows.append_column(ERROR_CLASS, pa.array([found.error_class for found in poison]))
    rows = rows.append_column(ERROR_MESSAGE, pa.array([found.message for found in poison]))
    return with_metadata(rows, rejected="predict", model_version=version)


def _with_casts(batch: pa.RecordBatch, names: Sequence[str]) -> pa.RecordBatch:
    """The features, each as conform cast it where it had to be cast."""
    present = set(batch.schema.names)
    sources = [CAST_PREFIX + name if CAST_PREFIX + name in present else name for name in names]
    return pa.RecordBatch.from_arrays([batch.column(source) for source in sources], list(names))


def _conform(features: pa.RecordBatch, contract: Contract) -> pa.RecordBatch:
    """Casts what preprocess made; a row that violates the contract fails the call."""
    conformance = check_conformance(features, contract)
    if conformance.violations:
        raise ContractError(f"after preprocess, {conformance.violations[0].message}")
    for name, column in conformance.casts.items():
        features = features.set_column(features.schema.get_field_index(name), name, column)
    return features


def _call(function: BatchFunction, batch: pa.RecordBatch) -> pa.RecordBatch:
    result = function(batch)
    if not isinstance(result, pa.RecordBatch) or result.num_rows != batch.num_rows:
        is_batch = isinstance(result, pa.RecordBatch)
        came = f"{result.num_rows} rows" if is_batch else f"a {type(result).__name__}"
        raise (RowCountError if is_batch else ModelOutputError)(
            f"{_name_of(function)} must return a RecordBatch of {batch.num_rows} rows, one for "
            f"each row it got, in order; it returned {came}"
        )
    names = result.schema.names
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ModelOutputError(f"{_name_of(function)} returned several columns named {repeated}")
    return result


def _name_of(function: BatchFunction) -> str:
    name = getattr(function, "__qualname__", type(function).__name__)
    return f"{getattr(function, '__module__', '')}:{name}"


def _new_columns(result: pa.RecordBatch, seen: pa.RecordBatch) -> pa.RecordBatch:
    return result.select([name for name in result.schema.names if name not in seen.schema.names])


def _beside(left: pa.RecordBatch, right: pa.RecordBatch) -> pa.RecordBatch:
    both = set(left.schema.names) & set(right.schema.names)
    if both:
        raise ModelOutputError(
            f"the input already has the columns {sorted(both)} that the model writes. Rename them "
            "in the input, or leave them out with --keep."
        )
    schema = pa.schema([*left.schema, *right.schema], left.schema.metadata)
    return pa.RecordBatch.from_arrays([*left.columns, *right.columns], schema=schema)


def _constant(value: str, batch: pa.RecordBatch) -> pa.DictionaryArray:
    indices = pa.array(np.zeros(batch.num_rows, np.int32))
    return pa.DictionaryArray.from_arrays(indices, pa.array([value]))
