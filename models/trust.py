"""What an operator allows a model file to do when it is loaded. The file never widens it."""

import re
from dataclasses import dataclass

from .artifact import Artifact
from .errors import ModelError, UntrustedModelError


@dataclass(frozen=True)
class Trust:
    """An operator's decision about one model file.

    Attributes:
        sha256: the file must have this hash; it may then be a pickle.
        allow_pickle: the file may be a pickle, whatever it holds.
        allow_code: functions named by `package.module:function` may be imported and run, as
            `preprocess`, as `postprocess` or as the model itself.
        skops_types: types that a `.skops` file may hold besides those that we ship as trusted.
    """

    sha256: str | None = None
    allow_pickle: bool = False
    allow_code: bool = False
    skops_types: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.sha256 is not None and not re.fullmatch("[0-9a-fA-F]{64}", self.sha256):
            raise ValueError(f"sha256: expected 64 hexadecimal digits, got {self.sha256!r}")


def check_hash(artifact: Artifact, trust: Trust) -> None:
    """Raises ModelError if the file is not the one that was pinned."""
    if trust.sha256 is not None and trust.sha256.lower() != artifact.sha256:
        raise ModelError(
            f"model {artifact.uri}: expected sha256 {trust.sha256.lower()}, but the file has "
            f"{artifact.sha256}. It is not the file that was pinned; find out who changed it."
        )


def check_code(reference: str, trust: Trust) -> None:
    """Raises UntrustedModelError unless code may be run; nothing of it was imported yet."""
    if not trust.allow_code:
        raise UntrustedModelError(f"{reference!r} is code: allow it with --allow-code")


def check_model_code(reference: str, trust: Trust) -> None:
    """Raises ModelError unless a model that is code may be run and nobody expects a hash of it."""
    check_code(reference, trust)
    if trust.sha256 is not None:
        raise ModelError(
            f"model {reference} is code, not a file: it has no sha256 to compare. Leave --sha256 "
            "out, and pin the version of the package that holds it."
        )


def check_pickle(artifact: Artifact, trust: Trust) -> None:
    """Raises UntrustedModelError unless this pickle was allowed; nothing of it has run yet."""
    if trust.allow_pickle or trust.sha256 is not None:
        return
    raise UntrustedModelError(
        f"model {artifact.uri} is a pickle: loading it runs whatever code its author put in.\n"
        f"If you trust it, pin this very file with --sha256 {artifact.sha256}, or allow any with "
        "--allow-pickle."
    )
