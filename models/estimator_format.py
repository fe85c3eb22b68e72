"""The two formats of scikit-learn's estimators: pickles, joblib's included, and `.skops`."""

from .artifact import Artifact
from .estimator import EstimatorModel
from .estimator_sketch import sketch
from .model_format import Description, ModelFormat
from .pickle_scan import scan_pickle
from .skops_tree import skops_tree
from .trust import check_pickle
from .unpickle import check_skops_types, is_pickle, is_skops


def _describe_pickle(artifact: Artifact) -> Description:
    scan = scan_pickle(artifact.data)
    notes: tuple[str, ...] = ()
    if scan.problem is not None:
        notes = (f"reading it broke off, so that imports may be missing here: {scan.problem}",)
    return sketch(scan.top, tuple(scan.imports), notes)


def _describe_skops(artifact: Artifact) -> Description:
    return sketch(skops_tree(artifact))


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
