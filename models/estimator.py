"""Scores with a scikit-learn estimator: anything with predict, transform or their relatives."""

import warnings
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from .artifact import Artifact
from .contract import Contract
from .errors import ContractError, ModelError
from .estimator_contract import contract_of
from .features import to_model_input
from .model import ModelInfo
from .outputs import OUTPUTS, to_columns
from .trust import Trust
from .unpickle import load_estimator


class EstimatorModel:
    """A fitted estimator with its contract. Predicting does not change it: threads may share it."""

    def __init__(
        self, estimator: Any, info: ModelInfo, contract: Contract, outputs: tuple[str, ...]
    ):
        self.estimator = estimator
        self.info = info
        self.contract = contract
        self.outputs = outputs
        self._labels = {output: _labels(estimator, output) for output in outputs}
        # We match the columns by name ourselves and hand over a bare matrix.
        warnings.filterwarnings("ignore", message="X does not have valid feature names")

    @classmethod
    def load(
        cls,
        artifact: Artifact,
        trust: Trust,
        outputs: tuple[str, ...],
        features: tuple[str, ...] | None,
    ) -> "EstimatorModel":
        """Loads the estimator in a model file and derives its contract."""
        estimator, notes = load_estimator(artifact, trust)
        info = ModelInfo.of(artifact, notes)
        _check_outputs(estimator, outputs, info)
        return cls(estimator, info, contract_of(estimator, features, info.name), outputs)

    def score(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Turns the contract's columns of a batch into the asked outputs."""
        model_input = to_model_input(batch, self.contract)
        columns: dict[str, pa.Array] = {}
        for output in self.outputs:
            result = getattr(self.estimator, output)(model_input)
            columns |= to_columns(output, result, batch.num_rows, self._labels[output])
        return pa.record_batch(columns)


def _check_outputs(estimator: Any, outputs: tuple[str, ...], info: ModelInfo) -> None:
    offered = [output for output in OUTPUTS if hasattr(estimator, output)]
    if not offered:
        raise ModelError(
            f"model {info.uri} is no estimator: it holds a {type(estimator).__name__}, which has "
            f"none of the methods {', '.join(OUTPUTS)}"
        )
    missing = [output for output in outputs if output not in offered]
    if missing:
        raise ContractError(
            f"model {info.name!r} ({type(estimator).__name__}) has no {', '.join(missing)}; "
            f"it offers --outputs {','.join(offered)}"
        )


def _labels(estimator: Any, output: str) -> Sequence[Any] | None:
    """Names for the columns of one output, where the estimator has names for them."""
    if output == "transform":
        return _feature_names_out(estimator)
    classes = getattr(estimator, "classes_", None)
    if classes is None or output not in ("predict_proba", "decision_function"):
        return None
    if output == "predict_proba":
        return classes  # type: ignore[no-any-return]
    # One column per class, or one per pair of classes, which has no name.
    one_per_class = getattr(estimator, "decision_function_shape", "ovr") == "ovr"
    return classes if one_per_class and not isinstance(classes, list) else None


def _feature_names_out(estimator: Any) -> Sequence[str] | None:
    try:
        return [str(name) for name in estimator.get_feature_names_out()]
    except (AttributeError, ValueError, TypeError):
        return None
