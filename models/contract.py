"""A model's input schema: which columns it takes, in which order, and what they may hold."""

from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

import pyarrow as pa

from .errors import ContractError
from .tensors import may_hold

Category = str | float  # a boolean is a number here
Kind = Literal["number", "text", "category", "tensor", "any"]
Known = Literal["number", "text"]
Layout = Literal["matrix", "frame", "text", "tensors", "batch"]


@dataclass(frozen=True)
class Feature:
    """One input column of a model.

    Attributes:
        name: the column's name.
        kind: `number` takes integers, floats, booleans, decimals, and strings that spell a
            number; `text` takes strings (or their bytes); `category` takes strings and whole
            numbers, which name it; `tensor` takes a list of numbers or of strings in each row;
            `any` takes whatever the model was trained on.
        nullable: whether the model takes a missing value (null or NaN) here.
        infinite: whether the model takes an infinity here.
        type: the only Arrow type that the model takes, where there is only one: whole numbers,
            booleans, or the nested lists of a tensor. A value that is none of it violates the
            contract: it is never rounded.
        required: whether the operator refuses a missing value though the model would take it.
        minimum: the least number that the operator accepts.
        maximum: the greatest number that the operator accepts.
        categories: the only values that the operator accepts.
        example: a value that the model knows, where it fails on one that it does not know.
        known: what all values are that the model knows, of a column of categories. It takes
            others too, but each of them would be none of its categories: `1` is not `"1"`.
    """

    name: str
    kind: Kind = "number"
    nullable: bool = True
    infinite: bool = True
    type: pa.DataType | None = None
    required: bool = False
    minimum: float | None = None
    maximum: float | None = None
    categories: tuple[Category, ...] | None = None
    example: Category | None = None
    known: Known | None = None

    @property
    def reads_numbers(self) -> bool:
        """Whether text that has no type of its own is to be read as a number."""
        return self.kind == "number" or (self.kind == "any" and self.known == "number")

    @property
    def reads_text(self) -> bool:
        """Whether it is to be read as text, though it may spell a number."""
        return self.kind == "text" or (self.kind == "any" and self.known == "text")


@dataclass(frozen=True)
class Contract:
    """A model's input columns in the model's own order, and how a batch becomes its input.

    Attributes:
        features: the columns, in the order in which the model was trained on them.
        layout: `matrix` is one numeric array of shape (rows, features); `frame` is a data frame
            with named columns; `text` is one array of strings; `tensors` are named arrays, each of
            one column or several; `batch` is the whole batch as it came: the model takes what it
            needs of it, and `features` are what it is sure to need.
        advice: what to do if columns are missing, of a model that does not know their names.
    """

    features: tuple[Feature, ...]
    layout: Layout = "matrix"
    advice: str = ""

    def __post_init__(self) -> None:
        repeated = {name for name in self.names if self.names.count(name) > 1}
        if repeated:
            raise ContractError(f"a model takes each column once, but {sorted(repeated)} repeat")
        if self.layout == "text" and len(self.features) != 1:
            raise ContractError(
                f"a text model takes one column, but {len(self.features)} were named: "
                f"{list(self.names)}. Name one with --features COLUMN."
            )

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the features, in the model's order."""
        return tuple(feature.name for feature in self.features)

    def check(self, schema: pa.Schema, model_name: str) -> None:
        """Raises ContractError unless a table of this schema could satisfy the contract."""
        missing = [name for name in self.names if name not in schema.names]
        if missing:
            raise ContractError(_missing_columns(missing, schema.names, model_name, self.advice))
        repeated = [name for name in self.names if schema.names.count(name) > 1]
        if repeated:
            raise ContractError(
                f"model {model_name!r} needs columns {repeated}, and the input has more than one "
                "of each. Rename the others."
            )
        for feature in self.features:
            _check_type(feature, schema.field(feature.name).type, model_name)


def _missing_columns(missing: list[str], present: list[str], model_name: str, advice: str) -> str:
    by_folded_name = {name.casefold(): name for name in present}
    hints = []
    for name in missing:
        near = by_folded_name.get(name.casefold()) or next(
            iter(get_close_matches(name, present, n=1)), None
        )
        if near is not None and near not in missing:
            hints.append(f"{near!r} looks like {name!r}")
    near_ones = f" ({'; '.join(hints)})" if hints else ""
    usual = (
        "Rename them in the input, or name the model's columns in its own order with --features."
    )
    return (
        f"model {model_name!r} needs columns {missing} that the input lacks; "
        f"it has {present}{near_ones}. {advice or usual}"
    )


def _check_type(feature: Feature, type_: pa.DataType, model_name: str) -> None:
    value_type = type_.value_type if pa.types.is_dictionary(type_) else type_
    if feature.kind == "any":
        _check_known(feature, value_type, type_, model_name)
        return
    if feature.kind == "tensor":
        _check_tensor(feature, type_, model_name)
        return
    takes, expected = _TYPES[feature.kind]
    if not takes(value_type):
        raise ContractError(
            f"model {model_name!r} takes {expected} in column {feature.name!r}, but the input has "
            f"{type_} there. Convert the column in the input, or with --preprocess."
        )


def _check_known(
    feature: Feature, value_type: pa.DataType, type_: pa.DataType, model_name: str
) -> None:
    """Refuses a column of which no value could be one that the model knows."""
    is_number = _may_be_number(value_type) and not _may_be_text(value_type)
    if (feature.known == "text" and is_number) or (
        feature.known == "number" and is_text(value_type)
    ):
        expected = "text" if feature.known == "text" else "numbers"
        raise ContractError(
            f"model {model_name!r} was trained on {expected} in column {feature.name!r}, but the "
            f"input has {type_} there: none of its values would be one that the model knows. "
            "Convert the column in the input, or with --preprocess."
        )


def _check_tensor(feature: Feature, type_: pa.DataType, model_name: str) -> None:
    assert feature.type is not None  # of every tensor
    if not may_hold(type_, feature.type):
        raise ContractError(
            f"model {model_name!r} takes {feature.type} in column {feature.name!r}, but the input "
            f"has {type_} there. Give lists of that length, nested like that or flat."
        )


def is_text(type_: pa.DataType) -> bool:
    """Whether an Arrow type holds strings."""
    return bool(
        pa.types.is_string(type_)
        or pa.types.is_large_string(type_)
        or pa.types.is_string_view(type_)
    )


def _may_be_number(type_: pa.DataType) -> bool:
    return bool(
        pa.types.is_integer(type_)
        or pa.types.is_floating(type_)
        or pa.types.is_boolean(type_)
        or pa.types.is_decimal(type_)
        or pa.types.is_null(type_)
        or is_text(type_)
    )


def _may_be_text(type_: pa.DataType) -> bool:
    binary = pa.types.is_binary(type_) or pa.types.is_large_binary(type_)
    return bool(is_text(type_) or binary or pa.types.is_null(type_))


def _may_be_category(type_: pa.DataType) -> bool:
    return bool(_may_be_text(type_) or pa.types.is_integer(type_))


_TYPES: dict[Kind, tuple[Callable[[pa.DataType], bool], str]] = {
    "number": (_may_be_number, "a number"),
    "text": (_may_be_text, "text"),
    "category": (_may_be_category, "text or whole numbers"),
}
