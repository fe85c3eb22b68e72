"""Scores with a scikit-learn estimator: anything with predict, transform or their relatives."""

import warnings
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from .artifact import Artifact
from .booster_categories import learned_categories
from .contract import Contract
from .errors import ContractError, ModelError
from .estimator_contract import contract_of
from .estimator_parts import is_sklearns_own, steps_of
from .features import to_model_input
from .model import ModelInfo
from .outputs import OUTPUTS, check_outputs, to_columns
from .trust import Trust
from .unpickle import is_skops, load_estimator


class EstimatorModel:
    """A fitted estimator with its contract. Predicting does not change it: threads may share it."""

    def __init__(
        self, estimator: Any, info: ModelInfo, contract: Contract, outputs: tuple[str, ...]
    ):
        self.estimator = estimator
        self.info = info
        self.contract = contract
        self.outputs = outputs
        self._categories = learned_categories(estimator, contract.names)
        self._labels = {output: _labels(estimator, output) for output in outputs}
        # We match the columns by name ourselves: the model may see them with names or without.
        for message in ("X does not have valid feature names", "X has feature names, but"):
            warnings.filterwarnings("ignore", message=message)

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
        info = ModelInfo.of(artifact, "skops" if is_skops(artifact) else "pickle", notes)
        try:
            _check_estimator(estimator, info)
            offered = [output for output in OUTPUTS if hasattr(estimator, output)]
            check_outputs(outputs, offered, info.name, type(estimator).__name__)
            return cls(estimator, info, contract_of(estimator, features, info.name), outputs)
        except (ContractError, ModelError):
            raise
        except Exception as error:  # an estimator that lacks a part of itself raises anything
            raise ModelError(
                f"model {info.uri} holds a {type(estimator).__name__} that cannot be used: "
                f"{type(error).__name__}: {error}. The file may be damaged, or made by other "
                "versions of its libraries."
            ) from error

    def score(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Turns the contract's columns of a batch into the asked outputs."""
        model_input = to_model_input(self._categories.encode(batch), self.contract)
        columns: dict[str, pa.Array] = {}
        for output in self.outputs:
            result = getattr(self.estimator, output)(model_input)
            columns |= to_columns(output, result, batch.num_rows, self._labels[output])
        return pa.record_batch(columns)


def _check_estimator(estimator: Any, info: ModelInfo) -> None:
    """Raises ModelError unless this is an estimator, and a fitted one as far as one can tell."""
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    kind = type(estimator).__name__
    if isinstance(estimator, type) or not any(hasattr(estimator, output) for output in OUTPUTS):
        raise ModelError(
            f"model {info.uri} is no estimator: it holds a {kind}, which has none of the methods "
            f"{', '.join(OUTPUTS)}. Save the fitted estimator itself."
        )
    if not is_sklearns_own(estimator):
        return
    try:
        check_is_fitted(estimator)
    except NotFittedError as error:
        raise ModelError(
            f"model {info.uri} holds a {kind} that is not fitted: save it after fit()"
        ) from error


def _labels(estimator: Any, output: str) -> Sequence[Any] | None:
    """Names for the columns of one output, where the estimator has names for them."""
    if output == "transform":
        return _feature_names_out(estimator)
    classes = getattr(estimator, "classes_", None)
    if classes is None or output not in ("predict_proba", "decision_function"):
        return None
    shape = getattr(steps_of(estimator)[-1], "decision_function_shape", "ovr")
    if output == "decision_function" and shape != "ovr":
        return None  # one column per pair of classes, which has no name
    return classes


def _feature_names_out(estimator: Any) -> Sequence[str] | None:
    estimator = getattr(estimator, "best_estimator_", estimator)
    try:
        return [str(name) for name in estimator.get_feature_names_out()]
    except (AttributeError, ValueError, TypeError):
        return None
