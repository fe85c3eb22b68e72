"""The two formats of scikit-learn's estimators: pickles, joblib's included, and `.skops`."""

from .artifact import Artifact
from .estimator import EstimatorModel
from .model_format import Description, ModelFormat
from .trust import check_pickle
from .unpickle import check_skops_types, is_pickle, is_skops


def _describe_pickle(artifact: Artifact) -> Description:
    del artifact
    return Description("scikit-learn estimator in a pickle")


def _describe_skops(artifact: Artifact) -> Description:
    del artifact
    return Description("scikit-learn estimator in a .skops file")


PICKLE = ModelFormat(
    name="pickle",
    title="scikit-learn pickle",
    extensions=(".joblib", ".pkl", ".pickle"),
    extra=None,
    recognises=is_pickle,
    load=EstimatorModel.load,
    describe=_describe_pickle,
    check_trust=check_pickle,
)
SKOPS = ModelFormat(
    name="skops",
    title="scikit-learn skops file",
    extensions=(".skops",),
    extra="skops",
    recognises=is_skops,
    load=EstimatorModel.load,
    describe=_describe_skops,
    check_trust=check_skops_types,
)
