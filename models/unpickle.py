"""Loads the estimator in a model file, as far as the operator's trust goes."""

import io
import re
import warnings
import zipfile
from collections.abc import Sequence
from typing import Any

from .artifact import Artifact
from .errors import ModelError, UntrustedModelError
from .model_format import require
from .skops_tree import check_size
from .skops_types import TRUSTED
from .trust import Trust, check_pickle

# How the files start that joblib.load takes: a pickle of protocol 2 or newer, or one compressed
# with zlib (at any level), gzip, bz2, xz, lzma or lz4.
_PICKLE_MAGIC = (
    b"\x80",
    b"\x78\x01",
    b"\x78\x5e",
    b"\x78\x9c",
    b"\x78\xda",
    b"\x1f\x8b",
    b"BZh",
    b"\xfd7zXZ",
    b"\x5d\x00\x00",
    b"\x04\x22\x4d\x18",
)


def is_pickle(artifact: Artifact) -> bool:
    """Whether a file is a pickle, compressed or not, as far as its first bytes tell."""
    return artifact.data.startswith(_PICKLE_MAGIC)


def is_skops(artifact: Artifact) -> bool:
    """Whether a file is a zip archive with the schema of a `.skops` file in it."""
    if not artifact.data.startswith(b"PK"):
        return False
    try:
        with zipfile.ZipFile(io.BytesIO(artifact.data)) as archive:
            return "schema.json" in archive.namelist()
    except Exception:  # a damaged directory makes zipfile raise more than BadZipFile
        return False


def load_estimator(artifact: Artifact, trust: Trust) -> tuple[Any, tuple[str, ...]]:
    """Loads a scikit-learn estimator; gives it with notes on library versions that differ.

    Raises:
        UntrustedModelError: a pickle that was not allowed, or a `.skops` with types not trusted.
        ModelError: the file is corrupt, or made by a library that the installed one cannot read.
    """
    load = _load_skops if is_skops(artifact) else _load_pickle
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
    check_skops_types(artifact, trust)
    skops_io = require("skops.io", "skops", artifact)
    return skops_io.loads(artifact.data, trusted=sorted(TRUSTED | set(trust.skops_types)))


def check_skops_types(artifact: Artifact, trust: Trust) -> None:
    """Raises UntrustedModelError if a `.skops` file holds a type that is not trusted.

    skops builds a tree of what the file names and imports none of it.

    Raises:
        ModelError: the file is damaged, or unpacks to more than any model is.
    """
    skops_io = require("skops.io", "skops", artifact)
    allowed = TRUSTED | set(trust.skops_types)
    try:
        check_size(artifact)
        unknown = sorted(set(skops_io.get_untrusted_types(data=artifact.data)) - allowed)
    except ModelError:
        raise
    except Exception as error:  # whatever a damaged file provokes
        raise ModelError(_unreadable(artifact, error)) from error
    if unknown:
        raise UntrustedModelError(
            f"model {artifact.uri} holds types that are not trusted: {', '.join(unknown)}\n"
            f"If you trust them, allow them by name: --skops-types {','.join(unknown)}"
        )


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
