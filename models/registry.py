"""All formats that models come in, and which of them a file is. A new format is one line here."""

from collections.abc import Callable

from . import (
    beam_model,
    callable_model,
    catboost_model,
    estimator_format,
    lightgbm_model,
    onnx_model,
    xgboost_model,
)
from .artifact import Artifact
from .errors import ContractError, ModelError
from .model import Model, ModelRef
from .model_format import ModelFormat
from .trust import Trust

FORMATS: tuple[ModelFormat, ...] = (
    estimator_format.SKOPS,
    estimator_format.PICKLE,
    onnx_model.FORMAT,
    catboost_model.FORMAT,
    lightgbm_model.FORMAT,
    xgboost_model.FORMAT,
)

# Models that are no file but code: whether a URI names one, how to load it.
REFERENCES: tuple[tuple[Callable[[str], bool], Callable[[ModelRef], Model]], ...] = (
    (callable_model.is_callable, callable_model.load),
    (beam_model.is_beam_handler, beam_model.load),
)


def format_of(artifact: Artifact) -> ModelFormat:
    """Tells a file's format from its content; its name only decides between several.

    Raises:
        ModelError: no format recognises it, or several do and the name is none of theirs.
    """
    if not artifact.data:
        raise ModelError(f"model {artifact.uri} is empty (0 bytes)")
    found = [format_ for format_ in FORMATS if format_.recognises(artifact)]
    if not found:
        raise ModelError(
            f"model {artifact.uri} is no model that scoreline knows: it starts with "
            f"{artifact.data[:8]!r}. Expected one of: {_titles(FORMATS)}."
        )
    named = [format_ for format_ in found if artifact.uri.lower().endswith(format_.extensions)]
    if len(found) > 1 and len(named) != 1:
        raise ModelError(
            f"model {artifact.uri} could be one of: {_titles(found)}. Its content does not decide; "
            "rename it to the extension of what it is."
        )
    return (named if len(found) > 1 else found)[0]


def load_format(
    format_: ModelFormat,
    artifact: Artifact,
    trust: Trust,
    outputs: tuple[str, ...],
    features: tuple[str, ...] | None,
) -> Model:
    """Loads a model of a format that is known.

    Raises:
        ModelError: it is not trusted, damaged, or of a version that the library cannot read.
        ContractError: it cannot give the outputs, or its columns have to be named.
    """
    try:
        format_.check_trust(artifact, trust)
        return format_.load(artifact, trust, outputs, features)
    except (ModelError, ContractError, MemoryError):
        raise
    except Exception as error:  # of a damaged file a library makes what it likes
        raise ModelError(
            f"cannot load model {artifact.uri} as {format_.title}: {type(error).__name__}: "
            f"{error}. The file may be damaged, or made by other versions of its library."
        ) from error


def _titles(formats: tuple[ModelFormat, ...] | list[ModelFormat]) -> str:
    return ", ".join(f"{format_.title} ({', '.join(format_.extensions)})" for format_ in formats)


def reference_loader(uri: str) -> Callable[[ModelRef], Model] | None:
    """How to load a model that is no file but code; None for a file.

    Each loader imports the code, so whoever calls one has checked that the trust allows it.
    """
    return next((load for is_reference, load in REFERENCES if is_reference(uri)), None)
