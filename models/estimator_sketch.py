"""What a saved estimator says of itself, read from its attributes; nothing of it is made or run."""

import importlib
from collections.abc import Iterator
from typing import Any

from .contract import Kind
from .model_format import Description
from .outputs import OUTPUTS
from .pickle_scan import Array, Thing, array_of, scalar_of
from .restrict import Rule

_MAX_KIND_CHARS = 200
_MAX_CATEGORIES = 50  # of a column: more are no list that a person edits
_MAX_DEPTH = 10  # of pipelines in pipelines: a crafted one may hold itself
_ENCODERS = ("OneHotEncoder", "OrdinalEncoder")
_OF_NUMBERS = (
    "KNNImputer",
    "MaxAbsScaler",
    "MinMaxScaler",
    "PowerTransformer",
    "QuantileTransformer",
    "RobustScaler",
    "StandardScaler",
)
_OF_TEXT = ("CountVectorizer", "HashingVectorizer", "TfidfVectorizer")


def sketch(top: Any, imports: tuple[str, ...] = (), notes: tuple[str, ...] = ()) -> Description:
    """Turns what a file holds into a description. All of it is the file's own claim."""
    steps = _steps(top)
    names = _names(top) or _names(steps[0])
    count = scalar_of(_attribute(top, "n_features_in_") or _attribute(steps[0], "n_features_in_"))
    if names is None and isinstance(count, int):
        notes = (*notes, f"trained on a matrix of {count} columns without names: --features")
    version = _attribute(top, "_sklearn_version") or _attribute(steps[0], "_sklearn_version")
    return Description(
        kind=_kind(top),
        features=names,
        outputs=_outputs(steps[-1]),
        classes=_classes(top) or _classes(steps[-1]),
        made_with={"scikit-learn": version} if isinstance(version, str) else {},
        imports=imports,
        notes=notes,
        rules=_rules(steps[0], names or ()),
    )


def _name(thing: Any) -> str:
    """The class of a thing: of scikit-learn's own the bare name."""
    if not isinstance(thing, Thing):
        return type(thing).__name__
    return thing.path.rsplit(".", 1)[-1] if thing.path.startswith("sklearn.") else thing.path


def _attribute(thing: Any, name: str) -> Any:
    state = thing.state if isinstance(thing, Thing) else None
    return state.get(name) if isinstance(state, dict) else None


def _pairs(value: Any) -> Iterator[tuple[Any, ...]]:
    """The tuples of a list such as a pipeline's steps; a crafted file may hold anything there."""
    if isinstance(value, list):
        yield from (tuple(pair) for pair in value if isinstance(pair, (tuple, list)))


def _steps(thing: Any, depth: int = 0) -> list[Any]:
    """The steps of a pipeline, nested ones and searches unrolled; else the thing alone."""
    best = _attribute(thing, "best_estimator_")
    if best is not None and depth < _MAX_DEPTH:
        return _steps(best, depth + 1)
    if _name(thing) != "Pipeline" or depth >= _MAX_DEPTH:
        return [thing]
    steps = [pair[1] for pair in _pairs(_attribute(thing, "steps")) if len(pair) > 1]
    things = [step for step in steps if isinstance(step, Thing)]
    return [inner for step in things for inner in _steps(step, depth + 1)] or [thing]


def _kind(thing: Any) -> str:
    best = _attribute(thing, "best_estimator_")
    inner = " of " + _kind_of_steps(best) if best is not None else ""
    kind = _name(thing) + inner if inner else _kind_of_steps(thing)
    return kind if len(kind) <= _MAX_KIND_CHARS else kind[: _MAX_KIND_CHARS - 1] + "…"


def _kind_of_steps(thing: Any) -> str:
    steps = _steps(thing)
    if _name(thing) != "Pipeline":
        return _name(thing)
    return f"Pipeline({', '.join(map(_name, steps))})"


def _strings(value: Any) -> tuple[str, ...] | None:
    """The values of a flat array, as text."""
    array = array_of(value)
    values = array.values if array is not None else value if isinstance(value, list) else None
    if values is None:
        return None
    values = [scalar_of(each) for each in values]
    plain = all(isinstance(each, (str, int, float)) for each in values)
    return tuple(map(str, values)) if plain else None


def _names(thing: Any) -> tuple[str, ...] | None:
    return _strings(_attribute(thing, "feature_names_in_"))


def _classes(thing: Any) -> tuple[str, ...] | None:
    return _strings(_attribute(thing, "classes_"))


def _outputs(last: Any) -> tuple[str, ...]:
    """What the class offers, of scikit-learn's own: the installed one is asked, not the file."""
    if not isinstance(last, Thing) or not last.path.startswith("sklearn."):
        return ()
    module, _, name = last.path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name, None)
    except Exception:  # made by another version, or by nobody
        return ()
    return tuple(output for output in OUTPUTS if isinstance(found, type) and hasattr(found, output))


def _rules(first: Any, names: tuple[str, ...]) -> dict[str, Rule]:
    """What columns may hold, as far as the part tells that sees them first."""
    if _name(first) != "ColumnTransformer":
        leaf = _leaf_rules(first, names)
        return leaf or dict.fromkeys(names, Rule("number"))
    rules: dict[str, Rule] = {}
    for entry in _pairs(_attribute(first, "transformers_")):
        if len(entry) == 3:  # (label, transformer, columns)
            columns = _column_names(entry[2], names)
            rules |= _leaf_rules(_steps(entry[1])[0], columns)
    return rules


def _column_names(columns: Any, names: tuple[str, ...]) -> tuple[str, ...]:
    found = (columns,) if isinstance(columns, str) else _strings(columns) or ()
    by_number = {str(number): name for number, name in enumerate(names)}
    return tuple(name if name in names else by_number.get(name, name) for name in found)


def _leaf_rules(leaf: Any, columns: tuple[str, ...]) -> dict[str, Rule]:
    if _name(leaf) in _OF_NUMBERS:
        return dict.fromkeys(columns, Rule("number"))
    if _name(leaf) in _OF_TEXT:
        return dict.fromkeys(columns, Rule("text"))
    categories = _attribute(leaf, "categories_")
    if _name(leaf) not in _ENCODERS or not isinstance(categories, list):
        return (
            dict.fromkeys(columns, Rule()) if _name(leaf) in (*_ENCODERS, "SimpleImputer") else {}
        )
    pairs = zip(columns, categories, strict=False)  # a crafted file may hold fewer
    return {name: _categories(array_of(found)) for name, found in pairs}


def _categories(found: Array | None) -> Rule:
    values = [scalar_of(value) for value in (found.values or ())] if found is not None else []
    values = [value for value in values if value is not None and value == value]
    is_text = bool(values) and all(isinstance(value, str) for value in values)
    is_number = bool(values) and all(isinstance(value, (int, float)) for value in values)
    kind: Kind | None = "text" if is_text else "number" if is_number else None
    listed = tuple(values) if kind and len(values) <= _MAX_CATEGORIES else None
    return Rule(kind, categories=listed)
