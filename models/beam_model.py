"""Scores with any of Beam's own model handlers: from batch to examples, from results to columns.

`beam:package.module:factory` names a function that returns the handler.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import numpy as np
import pyarrow as pa

from .callable_model import check_outputs, contract_of_code, info_of_code, is_callable
from .callables import load_callable
from .contract import is_text
from .dictionaries import clean_dictionary, decode_dictionary
from .errors import ModelError, ModelOutputError
from .features import to_matrix
from .model import ModelInfo, ModelRef
from .returned import returned_columns, stacked_columns
from .tensors import shape_of, to_tensor

_SCHEME = "beam:"

# What the handler's examples are: by row an array, a frame of one row, a dict or a text; or one
# example for the whole batch, a matrix, a frame or the batch itself.
Examples = Literal["array", "frame", "dict", "text", "matrix", "whole_frame", "batch"]
EXAMPLES = get_args(Examples)
_WHOLE = ("matrix", "whole_frame", "batch")
_ATTRIBUTE = "scoreline_examples"


def is_beam_handler(uri: str) -> bool:
    """Whether a model's URI names one of Beam's handlers.

    >>> is_beam_handler("beam:package.module:factory"), is_beam_handler("beam.onnx")
    (True, False)
    """
    return uri.startswith(_SCHEME) and is_callable(uri.removeprefix(_SCHEME))


class BeamModel:
    """One of Beam's handlers with the model that it loaded.

    Threads call the handler at the same time with one model, as Beam's own RunInference does.
    What its functions for before and after are given is called, row by row. Of how it wants to be
    batched, only the largest size counts: the batches are there already.

    Args:
        handler: the handler.
        examples: what it takes.
        info: for reports.
        features: the columns that it gets; all if None.
    """

    def __init__(
        self, handler: Any, examples: Examples, info: ModelInfo, features: tuple[str, ...] | None
    ):
        self.info = info
        self.contract = contract_of_code(features)
        self._handler = handler
        self._examples = examples
        self._max_rows: int | None = handler.batch_elements_kwargs().get("max_batch_size")
        self._before = list(handler.get_preprocess_fns())
        self._after = list(handler.get_postprocess_fns())
        handler.validate_inference_args(None)
        handler.set_environment_vars()
        self._model = handler.load_model()

    def score(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Turns a batch into what the handler infers from it."""
        if self.contract.names:
            batch = batch.select(list(self.contract.names))
        size = self._max_rows or batch.num_rows
        starts = range(0, batch.num_rows, size)
        parts = [self._infer(batch.slice(start, size)) for start in starts]
        if any(part.schema != parts[0].schema for part in parts):
            raise ModelOutputError(
                f"{self.info.uri} gives different columns for different rows of one batch"
            )
        return pa.concat_batches(parts)

    def _infer(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        examples = to_examples(batch, self._examples)
        if self._handler.should_skip_batching():  # then these functions take all at once
            for function in self._before:
                examples = function(examples)
        else:
            examples = [_through(self._before, example) for example in examples]
        results = self._handler.run_inference(examples, self._model, None)
        inferences = [_inference(_through(self._after, result)) for result in results]
        if self._examples not in _WHOLE:
            return stacked_columns(inferences, batch.num_rows, self.info.uri)
        if len(inferences) != 1:
            raise ModelOutputError(
                f"{self.info.uri} got the batch as one example and returned {len(inferences)} "
                "results; expected one with a row for each row"
            )
        return returned_columns(inferences[0], batch.num_rows, self.info.uri)


def load(ref: ModelRef) -> BeamModel:
    """Imports the factory that a URI names, has it make the handler, and has that load its model.

    The caller has checked that code may be run.

    Raises:
        ModelError: no handler, one that scoreline cannot feed, or one that fails to load.
        ContractError: other outputs were asked for than what it infers.
    """
    check_outputs(ref)
    reference = ref.uri.removeprefix(_SCHEME)
    factory = load_callable(reference)
    info = info_of_code(ref.uri, reference, "beam")
    try:
        handler = factory()
    except Exception as error:  # the user's own code
        raise _failed(f"{reference}()", error) from error
    examples = examples_of(handler, factory, ref.uri)
    try:
        return BeamModel(handler, examples, info, ref.features)
    except Exception as error:  # whatever its library raises
        raise _failed(f"the handler of {ref.uri} cannot load its model", error) from error


def _failed(what: str, error: Exception) -> ModelError:
    return ModelError(f"{what}: {type(error).__name__}: {error}")


def examples_of(handler: Any, factory: Callable[[], Any], uri: str) -> Examples:
    """What a handler takes: what it or its factory says in `scoreline_examples`, else by its type.

    A handler with a function that it calls before gets dicts: that function makes the examples.

    Raises:
        ModelError: this is no handler, or one that takes what no row can be turned into.
    """
    from apache_beam.ml.inference.base import ModelHandler

    if not isinstance(handler, ModelHandler):
        raise ModelError(
            f"{uri}: expected a function that returns an apache_beam ModelHandler, got a "
            f"{type(handler).__name__}"
        )
    base = _innermost(handler, uri)
    said = getattr(handler, _ATTRIBUTE, getattr(factory, _ATTRIBUTE, None))
    if said is not None:
        if said not in EXAMPLES:
            raise ModelError(
                f"{uri}: {_ATTRIBUTE} is {said!r}; expected one of {', '.join(EXAMPLES)}"
            )
        return said
    if list(handler.get_preprocess_fns()):
        return "dict"
    return _by_type(base, uri)


def _innermost(handler: Any, uri: str) -> Any:
    """The handler inside those that only add a function to it.

    Raises:
        ModelError: a keyed one is among them.
    """
    from apache_beam.ml.inference.base import KeyedModelHandler, MaybeKeyedModelHandler

    while True:
        if isinstance(handler, KeyedModelHandler | MaybeKeyedModelHandler):
            raise ModelError(
                f"{uri} returns a {type(handler).__name__}, but rows have no key: return the "
                "handler inside it. The columns that are to stand beside the predictions are kept "
                "with --keep."
            )
        inner = getattr(handler, "_base", None)
        if inner is None:
            return handler
        handler = inner


def _by_type(handler: Any, uri: str) -> Examples:
    import pandas as pd

    example = _example_type(handler)
    # XGBoost's handlers want each example to be a table, and predict example by example.
    takes_tables = any(cls.__name__ == "XGBoostModelHandler" for cls in type(handler).__mro__)
    if example is np.ndarray:
        return "matrix" if takes_tables else "array"
    if example is pd.DataFrame:
        return "whole_frame" if takes_tables else "frame"
    if example is pa.RecordBatch:
        return "batch"
    if example is str:
        return "text"
    if example in (None, Any, dict, object) or get_origin(example) in (dict, Mapping):
        return "dict"
    raise ModelError(
        f"{uri} takes {getattr(example, '__name__', example)}, which scoreline does not make of "
        "rows: have the factory return handler.with_preprocess_fn(function), with a function that "
        "makes one of a dict of the row's columns."
    )


def _example_type(handler: Any) -> Any:
    """The type of a handler's examples, by the bases of its class or by `run_inference`."""
    from apache_beam.ml.inference.base import ModelHandler

    for cls in type(handler).__mro__:
        for base in cls.__dict__.get("__orig_bases__", ()):
            origin, arguments = get_origin(base), get_args(base)
            is_handler = isinstance(origin, type) and issubclass(origin, ModelHandler)
            if is_handler and arguments and not isinstance(arguments[0], TypeVar):
                return arguments[0]
    try:
        batch = get_type_hints(type(handler).run_inference).get("batch")
    except Exception:  # annotations are text that may name anything
        return None
    arguments = get_args(batch)
    return arguments[0] if arguments and not isinstance(arguments[0], TypeVar) else None


def to_examples(batch: pa.RecordBatch, examples: Examples) -> list[Any]:
    """Turns a batch into what a handler takes.

    >>> to_examples(pa.record_batch({"a": [1, 2], "b": [0.5, 1.5]}), "array")
    [array([1. , 0.5]), array([2. , 1.5])]
    """
    if examples == "batch":
        return [batch]
    if examples == "dict":
        return list(batch.to_pylist())
    if examples == "text":
        return _texts(batch)
    if examples in ("array", "matrix"):
        matrix = _matrix(batch)
        return list(matrix) if examples == "array" else [matrix]
    frame = pa.RecordBatch.from_arrays(
        list(map(clean_dictionary, batch.columns)), batch.schema.names
    ).to_pandas()
    if examples == "whole_frame":
        return [frame]
    return [frame.iloc[[row]] for row in range(len(frame))]


def _texts(batch: pa.RecordBatch) -> list[Any]:
    if batch.num_columns != 1:
        raise ModelOutputError(
            f"the handler takes one text of each row, but there are the columns "
            f"{batch.schema.names}: name the one with --features COLUMN"
        )
    return list(batch.column(0).to_pylist())


def _matrix(batch: pa.RecordBatch) -> np.ndarray:
    """One row of numbers for each row; of objects if a column holds text; or a column's lists."""
    columns = [decode_dictionary(column) for column in batch.columns]
    if len(columns) == 1 and shape_of(columns[0].type):
        return to_tensor(
            columns[0], columns[0].type, lambda values: values.to_numpy(zero_copy_only=False)
        )
    if any(is_text(column.type) for column in columns):
        arrays = [column.to_numpy(zero_copy_only=False).astype(object) for column in columns]
        return np.stack(arrays, axis=1)
    return np.ascontiguousarray(to_matrix(columns))


def _through(functions: list[Callable[[Any], Any]], value: Any) -> Any:
    for function in functions:
        value = function(value)
    return value


def _inference(result: Any) -> Any:
    """What was inferred, without the example beside it."""
    from apache_beam.ml.inference.base import PredictionResult

    return result.inference if isinstance(result, PredictionResult) else result
