"""Says what is wrong with a value of a job: where it stands, what was expected, what came."""

from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel

_EXPECTED = {
    "string_type": "a string",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "literal_error": "{expected}",
    "greater_than": "more than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than_equal": "at most {le}",
    "string_too_short": "a string that is not empty",
    "string_too_long": "at most {max_length} character",
    "too_short": "a list that is not empty",
    "invalid_key": "a key that is text",
    "too_long": "a list of at most {max_length}",
}

_FORMS = {
    "accelerator": "type:nvidia-l4;count:1;install-nvidia-driver or the like",
    "min_ram": "an amount with its unit, such as 16GB",
    "subscription": "projects/PROJECT/subscriptions/NAME",
    "topic": "projects/PROJECT/topics/NAME",
    "table": "PROJECT.DATASET.TABLE",
    "temp_dataset": "PROJECT.DATASET",
}
_KINDS = ("files", "pubsub", "bigquery")
_OF_SEVERAL_KINDS = ("source", "dead_letters")


def explain(problem: Any, model: type[BaseModel]) -> str:
    """Turns one of pydantic's errors into `path: expected ..., got ...`.

    >>> class Spec(BaseModel, extra="forbid"):
    ...     path: str
    >>> problem = {"type": "extra_forbidden", "loc": ("pth",), "input": "a"}
    >>> explain(problem, Spec)
    "pth: unknown key; did you mean 'path'? Expected one of path"
    """
    location = problem["loc"]
    where = ".".join(_without_kinds(location)) or "the job"
    if problem["type"] == "extra_forbidden":
        return f"{where}: {_unknown_key(str(location[-1]), _fields(model, location[:-1]))}"
    if problem["type"] == "union_tag_invalid":
        kinds = problem["ctx"]["expected_tags"]
        return f"{where}.type: expected one of {kinds}, got {problem['ctx']['tag']!r}"
    if problem["type"] == "missing":
        return f"{where}: missing; it is needed"
    if problem["type"] == "value_error":  # a validator of ours: it says what came
        said = str(problem["ctx"]["error"])
        return f"{where}: {said}" if location else said
    if problem["type"] == "string_pattern_mismatch":
        expected = _FORMS.get(str(location[-1]), problem["ctx"]["pattern"])
        return f"{where}: expected {expected}, got {problem['input']!r}"
    expected = _EXPECTED.get(problem["type"], problem["msg"]).format(**problem.get("ctx", {}))
    return f"{where}: expected {expected}, got {_came(problem['input'])}"


def _unknown_key(key: str, known: list[str]) -> str:
    near = get_close_matches(key, known, n=1)
    hint = f"; did you mean {near[0]!r}? Expected one of " if near else "; expected one of "
    return f"unknown key{hint}{', '.join(known)}"


def _without_kinds(location: tuple[Any, ...]) -> list[str]:
    """The keys of a location as they stand in the file: pydantic adds which of several kinds."""
    return [
        str(part)
        for above, part in zip((None, *location), location, strict=False)
        if part not in _KINDS or not (above in _OF_SEVERAL_KINDS or isinstance(above, int))
    ]


def _fields(model: type[BaseModel], location: tuple[Any, ...]) -> list[str]:
    """The keys that the mapping at a location may have."""
    inner: list[type[BaseModel]] = []
    for part in location:
        if isinstance(part, str) and part in model.model_fields:
            inner = list(_models_in(model.model_fields[part].annotation))
            model = inner[0] if inner else model
        elif part in _KINDS and inner:
            model = next(each for each in inner if part in _literals(each))
    return list(model.model_fields)


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for each in get_args(annotation):
        yield from _models_in(each)


def _literals(model: type[BaseModel]) -> tuple[Any, ...]:
    return get_args(model.model_fields["type"].annotation)


def _came(value: Any) -> str:
    kinds = {dict: "a mapping", list: "a list", type(None): "nothing"}
    return kinds.get(type(value), repr(value))
