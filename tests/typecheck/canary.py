"""Wrong on purpose: mypy must refuse each marked line, or it does not see what it checks.

Nothing imports or runs this.
"""

import pyarrow as pa
from apache_beam.ml.inference.base import ModelHandler

from scoreline import __version__
from scoreline.models import ColumnarModelHandler, Contract, ModelRef, load_model
from scoreline.pipelines import main
from scoreline.transforms import Outcome, Predict, conform


class Handler(ModelHandler[pa.RecordBatch, pa.RecordBatch, str]):
    """Beam's classes are followed: what overrides one of their methods must fit."""

    def should_skip_batching(self) -> str:  # refused: override
        """Gives no bool."""
        return "yes"


def wrong(table: pa.Table, contract: Contract, handler: ColumnarModelHandler) -> None:
    """At least one mistake for each layer, and for each library whose types count."""
    version: int = __version__  # refused: assignment
    load_model("model.joblib")  # refused: arg-type
    version = load_model(ModelRef("model.joblib")).versions  # refused: attr-defined
    conform(table, contract, "run")  # refused: arg-type
    Predict(handler.load_model())  # refused: arg-type
    Outcome(table, table)  # refused: arg-type
    main(version)  # refused: arg-type
