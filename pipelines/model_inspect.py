"""What a model file is, says of itself and would need to be loaded; nothing of it is run."""

import json
from dataclasses import dataclass
from typing import Any

import yaml

from scoreline.models.artifact import Artifact, read_artifact
from scoreline.models.errors import ContractError, ModelError, UntrustedModelError
from scoreline.models.model import is_code
from scoreline.models.model_format import Description, ModelFormat
from scoreline.models.probe import describe_apart
from scoreline.models.registry import format_of
from scoreline.models.restrict import Rule
from scoreline.models.trust import Trust, check_hash, check_model_code

from .errors import ExitCode
from .preflight import check_model_file

_MAX_BYTES = 4 * 2**30  # of a file that is read whole; the larger ones are found out by loading
_SHOWN_IMPORTS = 40
_SHOWN_NAMES = 12
_LABEL_CHARS = 11
_WIDE = 10_000  # so that YAML keeps a column on one line


@dataclass(frozen=True)
class Inspection:
    """What was found out about a model.

    Attributes:
        uri: as it was given.
        format: the name of its format.
        title: what a person calls that format.
        name: the file's name without its extension.
        size: of the file in bytes; None for code.
        sha256: of the file; None for code.
        said: what the file says of itself.
        refusal: why it would not be loaded with this trust; None if it would.
    """

    uri: str
    format: str
    title: str
    name: str
    size: int | None
    sha256: str | None
    said: Description
    refusal: str | None

    @property
    def exit_code(self) -> ExitCode:
        """A model that the trust refuses is unfit, like one that cannot be read."""
        return ExitCode.FINISHED if self.refusal is None else ExitCode.MODEL_UNFIT


def inspect_model(uri: str, trust: Trust) -> Inspection:
    """Finds out about a model without loading it.

    Raises:
        ModelError: the file cannot be read, is not the one that was pinned, or is damaged.
    """
    if is_code(uri):
        return _inspect_code(uri, trust)
    check_model_file(uri)
    artifact = read_artifact(uri, _MAX_BYTES)
    check_hash(artifact, trust)
    format_ = format_of(artifact)
    return Inspection(
        uri,
        format_.name,
        format_.title,
        artifact.name,
        len(artifact.data),
        artifact.sha256,
        describe_apart(format_, artifact),
        _refusal(format_, artifact, trust),
    )


def _inspect_code(uri: str, trust: Trust) -> Inspection:
    is_handler = uri.startswith("beam:")
    title = "handler of Beam's" if is_handler else "Python function"
    said = Description(uri.removeprefix("beam:"), notes=("code is not imported to look at it",))
    try:
        check_model_code(uri, trust)
        refusal = None
    except UntrustedModelError as error:
        refusal = str(error)
    name = uri.rsplit(":", 1)[-1]
    format_name = "beam" if is_handler else "callable"
    return Inspection(uri, format_name, title, name, None, None, said, refusal)


def _refusal(format_: ModelFormat, artifact: Artifact, trust: Trust) -> str | None:
    try:
        format_.check_trust(artifact, trust)
    except ModelError as error:  # not trusted, or damaged where the trust looks
        return str(error)
    return None


def as_json(found: Inspection) -> str:
    """The inspection for another program."""
    said = found.said
    return json.dumps(
        {
            "uri": found.uri,
            "format": found.format,
            "title": found.title,
            "name": found.name,
            "version": found.sha256[:12] if found.sha256 else None,
            "size": found.size,
            "sha256": found.sha256,
            "kind": said.kind,
            "features": said.features,
            "outputs": said.outputs,
            "classes": said.classes,
            "made_with": said.made_with,
            "imports": said.imports,
            "notes": said.notes,
            "trust": {"loads": found.refusal is None, "refusal": found.refusal},
            "exit_code": int(found.exit_code),
        },
        indent=2,
    )


def as_text(found: Inspection) -> str:
    """The inspection for a person."""
    said = found.said
    made_with = [f"{library} {version}" for library, version in said.made_with.items()]
    size = None if found.size is None else f"{found.size:,} bytes"
    lines = [
        *_line("model", found.uri),
        *_line("format", found.title),
        *_line("holds", said.kind),
        *_line("made with", ", ".join(made_with)),
        *_line("size", size),
        *_line("sha256", found.sha256),
        *_line("takes", _names(said.features, "column")),
        *_line("outputs", ", ".join(said.outputs)),
        *_line("classes", _names(said.classes, "class")),
        *_imports(said.imports),
        *(line for note in said.notes for line in _line("note", note)),
        *_line("trust", _verdict(found)),
    ]
    return "\n".join(lines)


def _line(label: str, text: str | None) -> list[str]:
    """One line, and the further ones of the text below it; none where nothing is known."""
    if not text:
        return []
    first, *rest = text.splitlines()
    return [f"{label:<{_LABEL_CHARS}}{first}", *(f"{'':<{_LABEL_CHARS}}{line}" for line in rest)]


def _names(names: tuple[str, ...] | None, noun: str) -> str | None:
    if names is None:
        return None
    more = f", ... {len(names) - _SHOWN_NAMES:,} more" if len(names) > _SHOWN_NAMES else ""
    nouns = noun if len(names) == 1 else f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{len(names):,} {nouns}: {', '.join(names[:_SHOWN_NAMES])}{more}"


def _imports(imports: tuple[str, ...]) -> list[str]:
    if not imports:
        return []
    shown = list(imports[:_SHOWN_IMPORTS])
    if len(imports) > _SHOWN_IMPORTS:
        shown.append(f"... {len(imports) - _SHOWN_IMPORTS:,} more; --output-json lists all")
    return _line("imports", "\n".join(shown))


def _verdict(found: Inspection) -> str:
    if found.refusal is None:
        return "would be loaded with these flags"
    return f"refused with these flags: {found.refusal}"


def contract_yaml(found: Inspection, features: tuple[str, ...] | None = None) -> str:
    """Drafts the contract block of a job file, to be edited.

    Raises:
        ContractError: the file does not say which columns it takes, and `features` does not either.
    """
    names = features or found.said.features
    if not names:
        raise ContractError(
            f"model {found.uri} does not say which columns it takes; name them with --features A,B"
        )
    lines = [
        f"# Drafted from {found.uri}" + (f", sha256 {found.sha256}" if found.sha256 else ""),
        "# To be edited, below `model:` of a job file. What the model itself refuses is refused "
        "anyway.",
        "contract:",
        *(f"  {_flow(name)}: {_column(found.said.rules.get(name, Rule()))}" for name in names),
    ]
    return "\n".join(lines)


def _column(rule: Rule) -> str:
    column: dict[str, Any] = {
        "type": rule.implied_kind or "any",
        "nullable": not rule.required,
        "min": rule.minimum,
        "max": rule.maximum,
        "categories": list(rule.categories) if rule.categories is not None else None,
    }
    return _flow({key: value for key, value in column.items() if value is not None})


def _flow(value: Any) -> str:
    text: str = yaml.safe_dump(
        value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=_WIDE
    )
    return text.removesuffix("...\n").strip()
