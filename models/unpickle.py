"""Loads the estimator in a model file, as far as the operator's trust goes."""

import io
import re
import warnings
from collections.abc import Sequence
from typing import Any

from .artifact import Artifact
from .errors import ModelError, UntrustedModelError
from .skops_types import TRUSTED
from .trust import Trust, check_pickle


def load_estimator(artifact: Artifact, trust: Trust) -> tuple[Any, tuple[str, ...]]:
    """Loads a scikit-learn estimator; gives it with notes on library versions that differ.

    Raises:
        UntrustedModelError: a pickle that was not allowed, or a `.skops` with types not trusted.
        ModelError: the file is corrupt, or made by a library that the installed one cannot read.
    """
    load = _load_skops if artifact.format == "skops" else _load_pickle
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            estimator = load(artifact, trust)
        except ModelError:
            raise
        except Exception as error:  # whatever the file's content provokes
            _version_notes(artifact, caught)
            raise ModelError(_unreadable(artifact, error)) from error
    return estimator, _version_notes(artifact, caught)


def _load_pickle(artifact: Artifact, trust: Trust) -> Any:
    import joblib

    check_pickle(artifact, trust)
    return joblib.load(io.BytesIO(artifact.data))


def _load_skops(artifact: Artifact, trust: Trust) -> Any:
    try:
        import skops.io
    except ImportError as error:
        raise ModelError(
            f"model {artifact.uri} is a .skops file: pip install 'scoreline[skops]'"
        ) from error
    allowed = TRUSTED | set(trust.skops_types)
    unknown = sorted(set(skops.io.get_untrusted_types(data=artifact.data)) - allowed)
    if unknown:
        raise UntrustedModelError(
            f"model {artifact.uri} holds types that are not trusted: {', '.join(unknown)}\n"
            f"If you trust them, allow them by name: --skops-types {','.join(unknown)}"
        )
    return skops.io.loads(artifact.data, trusted=sorted(allowed))


def _unreadable(artifact: Artifact, error: Exception) -> str:
    import sklearn

    came = f"cannot load model {artifact.uri}: {type(error).__name__}: {error}."
    if isinstance(error, ModuleNotFoundError) and not str(error.name).startswith("sklearn."):
        return (
            f"{came} The model needs the module {error.name!r}: install the package that holds it, "
            "or put its folder on PYTHONPATH."
        )
    return (
        f"{came} The file may be cut short, no model at all, or made by other library versions "
        f"than the installed scikit-learn {sklearn.__version__}; install the versions it was "
        "trained with."
    )


def _version_notes(
    artifact: Artifact, caught: Sequence[warnings.WarningMessage]
) -> tuple[str, ...]:
    """What scikit-learn warned of: that the file was made by another version of it.

    Raises:
        ModelError: by a newer one, whose models the installed one may misread.
    """
    from sklearn.exceptions import InconsistentVersionWarning

    versions = {
        str(warning.message.original_sklearn_version)
        for warning in caught
        if isinstance(warning.message, InconsistentVersionWarning)
    }
    return tuple(_compare_versions(artifact, made) for made in sorted(versions))


def _compare_versions(artifact: Artifact, made: str) -> str:
    import sklearn

    installed = sklearn.__version__
    if _minor(made) > _minor(installed):
        raise ModelError(
            f"model {artifact.uri} was made by scikit-learn {made}, which is newer than the "
            f"installed {installed}. Install it: pip install 'scikit-learn=={made}'"
        )
    return f"made by scikit-learn {made}, run by {installed}: predictions may differ"


def _minor(version: str) -> tuple[int, ...]:
    """The first two numbers of a version; nothing of what is no version."""
    found = re.match(r"(\d+)\.(\d+)", version)
    return tuple(map(int, found.groups())) if found else ()
