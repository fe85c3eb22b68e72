"""Which rows of a batch violate a contract, and the columns cast to what the model takes."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .contract import Contract, Feature, is_text

# What Arrow's own cast from string to float64 accepts, surrounding blanks apart.
_NUMBER = r"(?i)^\s*[+-]?((\d+\.?\d*|\.\d+)(e[+-]?\d+)?|nan|inf(inity)?)\s*$"


@dataclass(frozen=True)
class Violation:
    """One row that the model cannot take.

    Attributes:
        row: the row's index in the batch.
        code: `null_value`, `not_finite` or `unsafe_cast`.
        message: what was expected, what came.
    """

    row: int
    code: str
    message: str


@dataclass(frozen=True)
class Conformance:
    """What checking a batch against a contract found.

    Attributes:
        casts: features whose type the model does not take as it is, cast, by name.
        violations: at most one per row, in row order.
    """

    casts: dict[str, pa.Array]
    violations: tuple[Violation, ...]


def check_conformance(batch: pa.RecordBatch, contract: Contract) -> Conformance:
    """Checks every feature of a batch against a contract; vectorised, and free of copies if clean.

    >>> contract = Contract((Feature("x", nullable=False),))
    >>> batch = pa.record_batch({"x": pa.array([1.0, None])})
    >>> check_conformance(batch, contract).violations[0].code
    'null_value'
    """
    casts: dict[str, pa.Array] = {}
    found: dict[int, Violation] = {}
    for feature in contract.features:
        column = batch.column(feature.name)
        if feature.kind == "number":
            numbers, unsafe = as_numbers(column)
            if numbers is not column:
                casts[feature.name] = numbers
            _note_unsafe(feature, column, unsafe, found)
            _note_missing(feature, numbers, unsafe, found)
            _note_infinite(feature, numbers, found)
        else:
            _note_missing(feature, column, None, found)
    return Conformance(casts, tuple(found[row] for row in sorted(found)))


def as_numbers(column: pa.Array) -> tuple[pa.Array, np.ndarray | None]:
    """Turns a column into numbers; the mask tells the values that do not spell one (then null)."""
    type_ = column.type
    if pa.types.is_dictionary(type_):
        return as_numbers(column.dictionary_decode())
    if is_text(type_):
        return _parse(column)
    if pa.types.is_decimal(type_) or pa.types.is_null(type_):
        return column.cast(pa.float64()), None
    return column, None


def _parse(column: pa.Array) -> tuple[pa.Array, np.ndarray | None]:
    text = column.cast(pa.string())
    spelled = pc.match_substring_regex(text, _NUMBER)
    parsed = pc.cast(pc.utf8_trim_whitespace(pc.if_else(spelled, text, None)), pa.float64())
    unsafe = pc.fill_null(pc.invert(spelled), False)
    return parsed, _mask(unsafe) if pc.any(unsafe).as_py() else None


def _note_unsafe(
    feature: Feature, column: pa.Array, unsafe: np.ndarray | None, found: dict[int, Violation]
) -> None:
    if unsafe is None:
        return
    for row in np.flatnonzero(unsafe).tolist():
        value = column[row].as_py()
        found.setdefault(
            row, Violation(row, "unsafe_cast", f"column {feature.name!r}: {value!r} is no number")
        )


def _note_missing(
    feature: Feature, column: pa.Array, unsafe: np.ndarray | None, found: dict[int, Violation]
) -> None:
    if feature.nullable:
        return
    missing = np.zeros(len(column), bool)
    if column.null_count:
        missing |= _mask(column.is_null())
    if pa.types.is_floating(column.type) and not _sums_to_finite(column):
        missing |= _mask(pc.fill_null(pc.is_nan(column), False))
    if unsafe is not None:
        missing &= ~unsafe
    _note(
        missing,
        "null_value",
        f"column {feature.name!r}: a missing value, which the model refuses",
        found,
    )


def _note_infinite(feature: Feature, column: pa.Array, found: dict[int, Violation]) -> None:
    if feature.infinite or not pa.types.is_floating(column.type) or _sums_to_finite(column):
        return
    infinite = _mask(pc.fill_null(pc.is_inf(column), False))
    _note(
        infinite,
        "infinite_value",
        f"column {feature.name!r}: an infinity, which the model refuses",
        found,
    )


def _note(mask: np.ndarray, code: str, message: str, found: dict[int, Violation]) -> None:
    for row in np.flatnonzero(mask).tolist():
        found.setdefault(row, Violation(row, code, message))


def _sums_to_finite(column: pa.Array) -> bool:
    """Whether a float column surely holds no NaN and no infinity: one pass, no mask.

    A sum may overflow though every value is finite; then the caller's exact check decides.
    """
    values = _values(column)
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(np.add.reduce(values)))


def _values(column: pa.Array) -> np.ndarray:
    if column.null_count:
        column = column.drop_null()
    return column.to_numpy(zero_copy_only=False)


def _mask(mask: pa.BooleanArray) -> np.ndarray:
    return mask.to_numpy(zero_copy_only=False)
