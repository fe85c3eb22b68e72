"""Models: a RecordBatch of features in, a RecordBatch of predictions out.

Nothing here knows a source, a sink, a job file or a flag.
"""

if __name__ == "models":
    raise ImportError("import scoreline.models, not models: a worker could not unpickle it")

from .contract import Contract, Feature
from .errors import (
    ContractError,
    ModelError,
    ModelOutputError,
    RowCountError,
    UntrustedModelError,
)
from .handler import ColumnarModelHandler
from .model import Model, ModelRef, load_model
from .trust import Trust

__all__ = [
    "ColumnarModelHandler",
    "Contract",
    "ContractError",
    "Feature",
    "Model",
    "ModelError",
    "ModelOutputError",
    "ModelRef",
    "RowCountError",
    "Trust",
    "UntrustedModelError",
    "load_model",
]
