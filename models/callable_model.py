"""Scores with a function: a RecordBatch in, predictions out. `package.module:function` names it."""

import hashlib
import re
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pyarrow as pa

from .callables import load_callable
from .contract import Contract, Feature
from .errors import ContractError, ModelError
from .model import ModelInfo, ModelRef
from .returned import returned_columns

_NAME = r"[^\W\d]\w*(\.[^\W\d]\w*)*"
_REFERENCE = re.compile(f"{_NAME}:{_NAME}")


def is_callable(uri: str) -> bool:
    """Whether a model's URI names a function, not a file. `./a:b` is a file.

    >>> is_callable("package.module:function"), is_callable("gs://bucket/m.onnx")
    (True, False)
    """
    return _REFERENCE.fullmatch(uri) is not None


class CallableModel:
    """A function with its contract. Threads call it at the same time: it must bear that.

    It gets a RecordBatch of all columns of the input, or of those that `features` names, as they
    came. It returns one result for each row, in order: a RecordBatch, a table, a data frame or a
    dict of columns, whose names the outputs then have; an array of numbers or text, which is the
    `prediction`; or an array of shape (rows, columns), whose columns are numbered or, where the
    array has fields, named.
    """

    def __init__(
        self,
        function: Callable[[pa.RecordBatch], Any],
        info: ModelInfo,
        features: tuple[str, ...] | None = None,
    ):
        self.info = info
        self.contract = contract_of_code(features)
        self._function = function

    def score(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Calls the function, and checks that it gave what it should."""
        if self.contract.names:
            batch = batch.select(list(self.contract.names))
        return returned_columns(self._function(batch), batch.num_rows, self.info.uri)


def load(ref: ModelRef) -> CallableModel:
    """Imports the function that a URI names; the caller has checked that code may be run.

    Raises:
        ModelError: it cannot be had.
        ContractError: other outputs were asked for than what it returns.
    """
    check_outputs(ref)
    function = load_callable(ref.uri)
    return CallableModel(function, info_of_code(ref.uri, ref.uri, "callable"), ref.features)


def contract_of_code(features: tuple[str, ...] | None) -> Contract:
    """What code needs: the columns that were named, as they are; otherwise it gets all."""
    named = tuple(Feature(name, "any") for name in features or ())
    return Contract(named, "batch")


def check_outputs(ref: ModelRef) -> None:
    """Raises ContractError if something else was asked of code than what it returns."""
    if ref.outputs != ("predict",):
        raise ContractError(
            f"model {ref.uri} is code: its outputs are what it returns, but --outputs asks for "
            f"{', '.join(ref.outputs)}. Leave --outputs out."
        )


def info_of_code(uri: str, reference: str, format_name: str) -> ModelInfo:
    """What a report says of a model that is code, after it was imported.

    The version is that of the module's source file: 12 digits of its sha256. What that imports
    may change without it, so it is a label, not a pin.
    """
    module, _, name = reference.partition(":")
    spec = find_spec(module)
    path = Path(spec.origin) if spec is not None and spec.origin else None
    if path is None or not path.is_file():
        raise ModelError(
            f"model {uri}: the module {module!r} has no file that its version could be told from. "
            "Put the function in a module of its own."
        )
    version = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    note = f"code: its version {version} is of {path.name} alone, not of what that imports"
    return ModelInfo(name, version, None, format_name, uri, (note,))
