"""Which rows of a batch violate a contract, and the columns cast to what the model takes."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .contract import Contract, Feature, is_text
from .dictionaries import decode_dictionary
from .exact import as_exact
from .limits import of_no_category, out_of_range
from .numeric import as_numbers
from .tensors import value_type_of, values_of, wrong_shape

_REFUSED = "which the model refuses"
_FORBIDDEN = "which the job's contract refuses"
_NULL_VALUE = ("null_value", _REFUSED)
_MAX_VALUE_CHARS = 80  # of a text that is no number: it may be a whole document


@dataclass(frozen=True)
class Violation:
    """One row that the model cannot take.

    Attributes:
        row: the row's index in the batch.
        code: of what the model refuses `unsafe_cast`, `null_value`, `infinite_value`,
            `wrong_shape`; of what the operator refuses `missing_value`, `out_of_range`,
            `unknown_category`.
        message: which column, what came, what was expected.
    """

    row: int
    code: str
    message: str


@dataclass(frozen=True)
class Conformance:
    """What checking a batch against a contract found.

    Attributes:
        casts: features whose type the model does not take as it is, cast to float64 or to the
            feature's own type, by name.
        violations: at most one per row, in row order: that of the model's first such column.
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
        unsafe = None
        if feature.kind == "tensor":
            assert feature.type is not None  # of every tensor
            _note_tensor(feature.name, feature.type, column, found)
            continue
        if feature.kind == "number":
            numbers, unsafe = as_numbers(column)
            _note_unsafe(feature, column, unsafe, found)
            if feature.type is not None:
                numbers = _exact(feature, feature.type, numbers, found)
            if numbers is not column:
                casts[feature.name] = numbers
            column = numbers
        _note_refused(feature, column, unsafe, found)
        _note_limits(feature, column, found)
    return Conformance(casts, tuple(found[row] for row in sorted(found)))


def _note_unsafe(
    feature: Feature, column: pa.Array, unsafe: np.ndarray | None, found: dict[int, Violation]
) -> None:
    if unsafe is None:
        return
    text = decode_dictionary(column)
    for row in np.flatnonzero(unsafe).tolist():
        message = f"column {feature.name!r}: {_shown(text[row])} is no number"
        found.setdefault(row, Violation(row, "unsafe_cast", message))


def _exact(
    feature: Feature, type_: pa.DataType, numbers: pa.Array, found: dict[int, Violation]
) -> pa.Array:
    """The numbers as the type that the model takes; notes those that it would have to round."""
    exact, misfits = as_exact(numbers, type_)
    if misfits is not None:
        for row in np.flatnonzero(misfits).tolist():
            message = f"column {feature.name!r}: {numbers[row].as_py()!r} is no {type_}"
            found.setdefault(row, Violation(row, "unsafe_cast", message))
    return exact


def _note_tensor(
    name: str, tensor: pa.DataType, column: pa.Array, found: dict[int, Violation]
) -> None:
    where, type_ = f"column {name!r}", value_type_of(tensor)
    missing = f"{where}: a missing value, {_REFUSED}: fill it in"
    if column.null_count:
        _note(_mask(column.is_null()), "null_value", missing, found)
    shape = f"{where}: lists of another length than those of {tensor}, which the model takes"
    _note(wrong_shape(column, tensor), "wrong_shape", shape, found)
    values, rows = values_of(column)
    if not pa.types.is_string(type_):
        if pa.types.is_floating(type_):
            return  # a missing value is NaN
        values, misfits = as_exact(as_numbers(values)[0], type_)
        if misfits is not None:
            message = f"{where}: a value in the list is no {type_}"
            _note_values(misfits, rows, "unsafe_cast", message, found)
    if values.null_count:
        _note_values(_mask(values.is_null()), rows, "null_value", missing, found)


def _note_values(
    mask: np.ndarray, rows: np.ndarray, code: str, message: str, found: dict[int, Violation]
) -> None:
    """Notes the rows that the masked values of lists belong to."""
    for row in np.unique(rows[mask]).tolist():
        found.setdefault(row, Violation(row, code, message))


def _shown(value: pa.Scalar) -> str:
    text = value.as_buffer().to_pybytes().decode(errors="replace")  # Arrow may hold broken UTF-8
    return repr(text if len(text) <= _MAX_VALUE_CHARS else text[: _MAX_VALUE_CHARS - 1] + "…")


def _note_refused(
    feature: Feature, column: pa.Array, unsafe: np.ndarray | None, found: dict[int, Violation]
) -> None:
    if feature.nullable and feature.infinite and not feature.required:
        return
    suspect = pa.types.is_floating(column.type) and not _sums_to_finite(column)
    where = f"column {feature.name!r}"
    if (feature.required or not feature.nullable) and (suspect or column.null_count):
        missing = _mask(column.is_null(nan_is_null=suspect))
        if unsafe is not None:
            missing = missing & ~unsafe
        code, refused = ("missing_value", _FORBIDDEN) if feature.nullable else _NULL_VALUE
        _note(missing, code, f"{where}: a missing value, {refused}: fill it in", found)
    if not feature.infinite and suspect:
        infinite = _mask(pc.fill_null(pc.is_inf(column), False))
        _note(infinite, "infinite_value", f"{where}: an infinity, {_REFUSED}: replace it", found)


def _note_limits(feature: Feature, column: pa.Array, found: dict[int, Violation]) -> None:
    if feature.minimum is not None or feature.maximum is not None:
        outside = out_of_range(column, feature.minimum, feature.maximum)
        _note_outside(feature, column, outside, "out_of_range", _range(feature), found)
    if feature.categories is not None:
        unknown = of_no_category(column, feature.categories)
        expected = "is none of the categories of the job's contract"
        _note_outside(feature, column, unknown, "unknown_category", expected, found)


def _range(feature: Feature) -> str:
    bounds = [
        f"{word} {bound:g}"
        for word, bound in (("at least", feature.minimum), ("at most", feature.maximum))
        if bound is not None
    ]
    return f"is out of the range of the job's contract, {' and '.join(bounds)}"


def _note_outside(
    feature: Feature,
    column: pa.Array,
    mask: np.ndarray | None,
    code: str,
    problem: str,
    found: dict[int, Violation],
) -> None:
    """Notes the rows of a mask with the value that each of them holds."""
    if mask is None:
        return
    rows = np.flatnonzero(mask)
    values = decode_dictionary(column.take(pa.array(rows)))
    for row, value in zip(rows.tolist(), values, strict=True):
        shown = _shown(value) if _is_bytes(value.type) else str(value.as_py())
        message = f"column {feature.name!r}: {shown} {problem}"
        found.setdefault(row, Violation(row, code, message))


def _is_bytes(type_: pa.DataType) -> bool:
    return bool(is_text(type_) or pa.types.is_binary(type_) or pa.types.is_large_binary(type_))


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
