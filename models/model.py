"""A loaded model behind one interface, and how to name and load one."""

import threading
import weakref
from dataclasses import dataclass, field
from typing import Protocol

import pyarrow as pa

from .artifact import Artifact, read_artifact
from .contract import Contract
from .probe import load_apart
from .trust import Trust, check_hash, check_model_code


@dataclass(frozen=True)
class ModelInfo:
    """What a report says of a model.

    Attributes:
        name: the file's name without its extension.
        version: the label on predictions: the first 12 digits of the sha256.
        sha256: the hash of the file's bytes; None for a model that is no file but code.
        format: the name of a format, see `registry.py`.
        uri: where the file was read.
        notes: what an operator should know, such as a library version that differs.
    """

    name: str
    version: str
    sha256: str | None
    format: str
    uri: str
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, artifact: Artifact, format_name: str, notes: tuple[str, ...] = ()) -> "ModelInfo":
        """Describes the model in a file."""
        sha256 = artifact.sha256
        return cls(artifact.name, sha256[:12], sha256, format_name, artifact.uri, notes)


class Model(Protocol):
    """A loaded model. Several may live in one process, each labels its own predictions."""

    info: ModelInfo
    contract: Contract

    def score(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Turns a batch with the contract's columns into output columns, row by row in order."""
        ...


@dataclass(frozen=True)
class ModelRef:
    """Names a model so that any worker can load the same one.

    Attributes:
        uri: a path on any Beam file system; or code, `package.module:function` for a function,
            `beam:package.module:factory` for one of Beam's own handlers.
        trust: what the operator allows.
        outputs: the methods to call, of `scoreline.models.outputs.OUTPUTS`.
        features: the input columns in the model's order, for a model that does not know them.
    """

    uri: str
    trust: Trust = field(default_factory=Trust)
    outputs: tuple[str, ...] = ("predict",)
    features: tuple[str, ...] | None = None


_loaded: "weakref.WeakValueDictionary[ModelRef, Model]" = weakref.WeakValueDictionary()
_loading = threading.Lock()


def load_model(ref: ModelRef, *, probe: bool = False) -> Model:
    """Loads a model once per process; whoever asks again gets the same object while it lives.

    Args:
        ref: which model.
        probe: whether to load it in a process of its own first, if a library of machine code
            reads it: a file that crashes the library is an error then, not the end of the process.

    Raises:
        ModelError: unreadable, another hash than pinned, incompatible.
        UntrustedModelError: it could run code and the trust does not allow that.
        ContractError: it cannot give the asked outputs, or needs `features` to be named.
    """
    with _loading:
        model = _loaded.get(ref) if ref.trust.sha256 or is_code(ref.uri) else None
        if model is None:
            model = _load(ref, probe=probe)
            _loaded[ref] = model
        return model


def pinned(ref: ModelRef, model: Model) -> ModelRef:
    """Names the very model that was loaded: a worker that finds another file there refuses it."""
    trust = Trust(
        sha256=model.info.sha256,
        allow_pickle=ref.trust.allow_pickle,
        allow_code=ref.trust.allow_code,
        skops_types=ref.trust.skops_types,
    )
    same = ModelRef(ref.uri, trust, ref.outputs, ref.features)
    with _loading:
        _loaded[same] = model
    return same


def is_code(uri: str) -> bool:
    """Whether a model is no file but code: there is nothing to read or to hash."""
    from .registry import reference_loader

    return reference_loader(uri) is not None


def _load(ref: ModelRef, *, probe: bool) -> Model:
    from .registry import format_of, load_format, reference_loader

    load_reference = reference_loader(ref.uri)
    if load_reference is not None:
        check_model_code(ref.uri, ref.trust)
        return load_reference(ref)
    artifact = read_artifact(ref.uri)
    check_hash(artifact, ref.trust)
    format_ = format_of(artifact)
    if probe and format_.is_native:
        load_apart(format_, artifact, ref.trust, ref.outputs, ref.features)
    return load_format(format_, artifact, ref.trust, ref.outputs, ref.features)
