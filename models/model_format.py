"""What scoreline knows of one kind of model file; `registry.py` lists them all."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .artifact import Artifact
from .errors import ModelError
from .model import Model
from .restrict import Rule
from .trust import Trust


@dataclass(frozen=True)
class Description:
    """What a model file says of itself, found out without running anything of it.

    All of it is the file's own claim: nothing here decides what is trusted.

    Attributes:
        kind: what the file holds, such as `LogisticRegression` or `gbtree booster`.
        features: the input columns in the model's order; None where the file does not tell.
        outputs: what may be asked of it, of `scoreline.models.outputs.OUTPUTS`.
        classes: the names of a classifier's classes; None where the file does not tell.
        made_with: the version of each library that made the file, by the library's name.
        imports: what loading it would import, as `module.name`: of pickles.
        notes: what else a person should know.
        rules: what its columns may hold, by their names, as far as the file tells: a draft for
            the contract of a job.
    """

    kind: str
    features: tuple[str, ...] | None = None
    outputs: tuple[str, ...] = ()
    classes: tuple[str, ...] | None = None
    made_with: dict[str, str] = field(default_factory=dict)
    imports: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    rules: dict[str, Rule] = field(default_factory=dict)


Loader = Callable[[Artifact, Trust, tuple[str, ...], tuple[str, ...] | None], Model]


def needs_no_trust(artifact: Artifact, trust: Trust) -> None:
    """For a format that holds data only: whatever is in the file, loading it runs none of it."""
    del artifact, trust


@dataclass(frozen=True)
class ModelFormat:
    """One kind of model file: how to tell it, what it says, how to load it.

    Attributes:
        name: the format's name in reports, such as `onnx`.
        title: what a person calls it, such as `ONNX graph`.
        extensions: what its files usually end in, dots included.
        extra: the extra of scoreline that brings its library; None if the base install has it.
        recognises: whether a file's content is of this format. Runs nothing of it, never raises.
        load: loads it: (artifact, trust, outputs, features) to a `Model`. `features` names the
            input columns for a model that does not know them. Raises ModelError or ContractError.
        describe: what the file says of itself. Runs nothing of it; raises ModelError if it is
            broken.
        check_trust: raises UntrustedModelError, with the flag that would allow it, unless the
            operator's trust allows to load this file. Runs nothing of it. `load` calls it too.
        is_native: whether a library of machine code parses the file, which a crafted or damaged
            one may crash: it is loaded in a process of its own first (`probe.py`).
    """

    name: str
    title: str
    extensions: tuple[str, ...]
    extra: str | None
    recognises: Callable[[Artifact], bool]
    load: Loader
    describe: Callable[[Artifact], Description]
    check_trust: Callable[[Artifact, Trust], None] = needs_no_trust
    is_native: bool = False


def require(module: str, extra: str, artifact: Artifact) -> Any:
    """Imports the library that a format needs, only when a file of that format is there.

    Raises:
        ModelError: it cannot be imported; names the extra that brings it.
    """
    try:
        return importlib.import_module(module)
    except Exception as error:  # a library whose machine code does not load raises its own
        raise ModelError(
            f"model {artifact.uri} needs the library {module}, which cannot be imported: {error}. "
            f"Install it: pip install 'scoreline[{extra}]'"
        ) from error
