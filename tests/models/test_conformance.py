import decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoreline.models import Contract, Feature
from scoreline.models.conformance import Conformance, check_conformance
from scoreline.models.numeric import as_numbers

STRICT = Feature("x", nullable=False, infinite=False)


def check(column: pa.Array, feature: Feature = STRICT) -> Conformance:
    return check_conformance(pa.record_batch({"x": column}), Contract((feature,)))


def codes(column: pa.Array, feature: Feature = STRICT) -> list[tuple[int, str]]:
    return [(found.row, found.code) for found in check(column, feature).violations]


@pytest.mark.parametrize(
    "type_",
    [pa.int8(), pa.uint64(), pa.float16(), pa.float32(), pa.float64(), pa.bool_()],
    ids=str,
)
def test_clean_numbers_pass_as_they_are(type_: pa.DataType):
    column = pa.array([0, 1]).cast(type_)
    assert check(column) == Conformance({}, ())
    assert as_numbers(column)[0] is column


def test_uint64_beyond_int64_passes():
    assert check(pa.array([2**64 - 1], pa.uint64())) == Conformance({}, ())


@pytest.mark.parametrize("type_", [pa.float16(), pa.float32(), pa.float64()], ids=str)
def test_missing_and_infinite_numbers(type_: pa.DataType):
    values = np.array([1, np.nan, np.inf, -np.inf, 0], type_.to_pandas_dtype())
    column = pa.concat_arrays([pa.array(values), pa.nulls(1, type_)])
    found = check(column).violations
    assert [(violation.row, violation.code) for violation in found] == [
        (1, "null_value"),
        (2, "infinite_value"),
        (3, "infinite_value"),
        (5, "null_value"),
    ]
    assert found[0].message == ("column 'x': a missing value, which the model refuses: fill it in")
    assert found[1].message == "column 'x': an infinity, which the model refuses: replace it"
    assert codes(column, Feature("x")) == []
    assert codes(column, Feature("x", nullable=False)) == [(1, "null_value"), (5, "null_value")]
    infinite = [(2, "infinite_value"), (3, "infinite_value")]
    assert codes(column, Feature("x", infinite=False)) == infinite


def test_a_slice_is_checked_for_itself():
    column = pa.array([np.nan, 1.0, None, 2.0, np.nan]).slice(1, 3)
    assert codes(column) == [(1, "null_value")]


def test_nulls_of_integers_and_booleans():
    assert codes(pa.array([1, None, 3])) == [(1, "null_value")]
    assert codes(pa.array([None, True])) == [(0, "null_value")]


def test_a_column_of_the_null_type_is_missing_everywhere():
    assert codes(pa.nulls(2)) == [(0, "null_value"), (1, "null_value")]
    nullable = check(pa.nulls(2), Feature("x"))
    assert nullable.violations == ()
    assert nullable.casts["x"].type == pa.float64()


def test_a_sum_that_overflows_does_not_reject_finite_values():
    huge = np.full(4, np.finfo(np.float32).max)
    assert codes(pa.array(huge)) == []
    assert codes(pa.array(np.append(huge, np.float32(np.inf)))) == [(4, "infinite_value")]
    assert codes(pa.array(np.full(70_000, 2, np.float16))) == []


def test_infinities_that_cancel_out_are_found():
    assert codes(pa.array([np.inf, -np.inf])) == [(0, "infinite_value"), (1, "infinite_value")]


SPELLED = [
    ("1", 1.0),
    ("+1.5", 1.5),
    ("-1.", -1.0),
    (".5", 0.5),
    (" 2 ", 2.0),
    ("\t3\r\n", 3.0),
    ("1e3", 1000.0),
    ("1E-3", 0.001),
    ("007", 7.0),
    ("1e999", np.inf),
    ("-1e999", -np.inf),
    ("1e-999", 0.0),
    ("9" * 400, np.inf),
    ("123456789012345678901234567890", 123456789012345678901234567890.0),
    ("nan", np.nan),
    ("-NaN", np.nan),
    ("inf", np.inf),
    ("-Infinity", -np.inf),
]


@pytest.mark.parametrize("type_", [pa.string(), pa.large_string(), pa.string_view()], ids=str)
def test_text_that_spells_a_number_is_cast(type_: pa.DataType):
    text = [spelled for spelled, _ in SPELLED]
    found = check(pa.array(text, type_), Feature("x"))
    assert found.violations == ()
    assert found.casts["x"].type == pa.float64()
    np.testing.assert_array_equal(found.casts["x"].to_numpy(), [value for _, value in SPELLED])


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "many", "1,5", "1_000", "0x10", "1 2", "--1", "1e", "e5", ".", "1d"),
        *("true", "None", "nanx", "infinit", "1\n2"),
        *("\N{ARABIC-INDIC DIGIT THREE}", "\N{NO-BREAK SPACE}1"),
    ],
)
def test_text_that_spells_no_number_is_rejected(text: str):
    (found,) = check(pa.array(["1", text]), Feature("x")).violations
    assert (found.row, found.code) == (1, "unsafe_cast")
    assert found.message == f"column 'x': {text!r} is no number"


def test_text_that_spells_what_the_model_refuses():
    column = pa.array(["nan", "inf", None, "word", "1"])
    assert codes(column) == [
        (0, "null_value"),
        (1, "infinite_value"),
        (2, "null_value"),
        (3, "unsafe_cast"),
    ]


def test_a_long_text_is_cut_in_the_message():
    (found,) = check(pa.array(["x" * 10_000])).violations
    assert len(found.message) < 120
    assert "xxx…' is no number" in found.message


def test_text_of_broken_encoding_is_rejected_not_raised():
    offsets = pa.array([0, 2, 3], pa.int32()).buffers()[1]
    broken = pa.Array.from_buffers(pa.string(), 2, [None, offsets, pa.py_buffer(b"\xff\xfe1")])
    (found,) = check(broken).violations
    assert (found.row, found.code) == (0, "unsafe_cast")


@pytest.mark.parametrize(
    "type_", [pa.decimal32(6, 2), pa.decimal128(38, 2), pa.decimal256(60, 2)], ids=str
)
def test_decimals_are_cast(type_: pa.DataType):
    column = pa.array([decimal.Decimal("1.25"), None], type_)
    found = check(column)
    assert found.casts["x"].to_pylist() == [1.25, None]
    assert [violation.code for violation in found.violations] == ["null_value"]


DICTIONARIES = [
    (pa.array([1.5, np.nan]), [1.5, None]),
    (pa.array([1, 2], pa.uint8()), [1, 2]),
    (pa.array(["1.5", "many"]), [1.5, "unsafe"]),
    (pa.array(["1.5", "many"], pa.string_view()), [1.5, "unsafe"]),
    (pa.array([True, None]), [True, None]),
    (pa.array([decimal.Decimal("1.5"), None]), [1.5, None]),
    (pa.nulls(2), [None, None]),
]


@pytest.mark.parametrize(("values", "expected"), DICTIONARIES, ids=lambda case: str(case)[:24])
def test_dictionary_columns_are_decoded(values: pa.Array, expected: list[object]):
    column = pa.DictionaryArray.from_arrays(pa.array([0, 1, None, 0], pa.int8()), values)
    found = check(column)
    expected = [expected[0], expected[1], None, expected[0]]
    codes_of = {None: "null_value", "unsafe": "unsafe_cast"}
    assert [(violation.row, violation.code) for violation in found.violations] == [
        (row, codes_of[value])
        for row, value in enumerate(expected)
        if value is None or value == "unsafe"
    ]
    good = found.casts["x"].to_pylist()
    assert good[0] == expected[0]


def test_kind_any_and_text_are_checked_but_not_cast():
    words = pa.array(["1", None])
    assert codes(words, Feature("x", "any", nullable=False)) == [(1, "null_value")]
    assert codes(words, Feature("x", "text", nullable=False)) == [(1, "null_value")]
    assert check(words, Feature("x", "any")) == Conformance({}, ())
    numbers = pa.array([np.nan, np.inf])
    assert codes(numbers, Feature("x", "any", nullable=False, infinite=False)) == [
        (0, "null_value"),
        (1, "infinite_value"),
    ]


def test_one_violation_per_row_that_of_the_models_first_column():
    contract = Contract((Feature("y", nullable=False), Feature("x")))
    batch = pa.record_batch({"x": ["one", "two", "3"], "y": [None, 1, None]})
    found = check_conformance(batch, contract).violations
    assert [(violation.row, violation.code) for violation in found] == [
        (0, "null_value"),
        (1, "unsafe_cast"),
        (2, "null_value"),
    ]


def test_columns_that_are_no_features_are_not_looked_at():
    batch = pa.record_batch({"z": [None], "x": [1]})
    assert check_conformance(batch, Contract((STRICT,))) == Conformance({}, ())


numbers_or_not = st.one_of(
    st.none(),
    st.floats(),
    st.integers(-(2**60), 2**60),
    st.text(max_size=5),
    st.sampled_from([" 1", "nan", "-inf", "1e400", "+.5"]),
)


@given(st.lists(numbers_or_not, min_size=1, max_size=30), st.booleans(), st.booleans())
def test_good_and_rejected_rows_are_the_input(values: list, nullable: bool, infinite: bool):
    """Every row is good or rejected, and exactly the good ones satisfy the contract."""
    text = [None if value is None else str(value) for value in values]
    feature = Feature("x", nullable=nullable, infinite=infinite)
    found = check(pa.array(text, pa.string()), feature)
    rejected = [violation.row for violation in found.violations]
    assert rejected == sorted(set(rejected))
    for row, value in enumerate(found.casts["x"].to_pylist()):
        missing = value is None or np.isnan(value)
        refused = (missing and not nullable) or (not missing and np.isinf(value) and not infinite)
        spelled = text[row] is None or _spells_number(text[row])
        assert (row in rejected) == (refused or not spelled)


def _spells_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return (
        text.isascii() and "_" not in text and "\v" not in text and not set(text) & set(_SEPARATORS)
    )


_SEPARATORS = "\x1c\x1d\x1e\x1f"  # blanks to Python, not to Arrow


# --- what the operator refuses -----------------------------------------------------------------


def messages(column: pa.Array, feature: Feature) -> list[tuple[int, str, str]]:
    return [(found.row, found.code, found.message) for found in check(column, feature).violations]


def test_a_missing_value_that_the_model_would_take():
    feature = Feature("x", required=True)
    assert messages(pa.array([1.0, None, np.nan]), feature) == [
        (row, "missing_value", message)
        for row in (1, 2)
        for message in ["column 'x': a missing value, which the job's contract refuses: fill it in"]
    ]
    assert codes(pa.array(["a", None]), Feature("x", "text", required=True)) == [
        (1, "missing_value")
    ]
    both = Feature("x", nullable=False, required=True)
    assert codes(pa.array([1.0, None]), both) == [(1, "null_value")]


def test_numbers_out_of_range():
    feature = Feature("x", minimum=0, maximum=2.5)
    assert messages(pa.array([-1, 0, None, 3]), feature) == [
        (
            row,
            "out_of_range",
            f"column 'x': {value} is out of the range of the job's contract, at least 0 and at "
            "most 2.5",
        )
        for row, value in ((0, -1), (3, 3))
    ]
    assert messages(pa.array(["1", "9", "many"]), Feature("x", maximum=2)) == [
        (1, "out_of_range", "column 'x': 9.0 is out of the range of the job's contract, at most 2"),
        (2, "unsafe_cast", "column 'x': 'many' is no number"),
    ]


@pytest.mark.parametrize("encode", [False, True])
def test_values_of_no_category(encode: bool):
    column = pa.array(["basic", "gld", None, "g" * 200])
    found = messages(
        column.dictionary_encode() if encode else column,
        Feature("x", "text", categories=("basic", "gold")),
    )
    rest = "is none of the categories of the job's contract"
    assert found == [
        (1, "unknown_category", f"column 'x': 'gld' {rest}"),
        (3, "unknown_category", f"column 'x': '{'g' * 79}…' {rest}"),
    ]


def test_a_row_is_refused_once_for_the_first_reason():
    feature = Feature("x", infinite=False, maximum=1, required=True)
    assert codes(pa.array([np.inf, None, 2.0, 0.0]), feature) == [
        (0, "infinite_value"),
        (1, "missing_value"),
        (2, "out_of_range"),
    ]


WHOLE = Feature("x", nullable=False, infinite=False, type=pa.int32())


def test_integers_are_never_rounded():
    column = pa.array(["3", "2.5", "many", None, "1e12"])
    found = check(column, WHOLE)
    assert [(each.row, each.code, each.message) for each in found.violations[:3]] == [
        (1, "unsafe_cast", "column 'x': 2.5 is no int32"),
        (2, "unsafe_cast", "column 'x': 'many' is no number"),
        (3, "null_value", "column 'x': a missing value, which the model refuses: fill it in"),
    ]
    assert found.violations[3].message == "column 'x': 1000000000000.0 is no int32"
    assert found.casts["x"].equals(pa.array([3, None, None, None, None], pa.int32()))
    assert check(pa.array([1, 2], pa.int32()), WHOLE) == Conformance({}, ())


def test_lists_have_the_shape_of_the_tensor():
    tensor = Feature("x", "tensor", type=pa.list_(pa.list_(pa.int64(), 2), 1))
    column = pa.array([[[1, 2]], [[1]], None, [[1, None]], [[3, 4]], [[0.5, 1]]])
    found = check(column, tensor)
    assert [(each.row, each.code) for each in found.violations] == [
        (1, "wrong_shape"),
        (2, "null_value"),
        (3, "null_value"),
        (5, "unsafe_cast"),
    ]
    assert found.violations[0].message == (
        f"column 'x': lists of another length than those of {tensor.type}, which the model takes"
    )
    assert found.violations[3].message == "column 'x': a value in the list is no int64"
    words = Feature("x", "tensor", type=pa.list_(pa.string(), 2))
    assert codes(pa.array([["a", "b"], ["a", None], ["a"]]), words) == [
        (1, "null_value"),
        (2, "wrong_shape"),
    ]
    floats = Feature("x", "tensor", type=pa.list_(pa.float32(), 2))
    assert codes(pa.array([[1.0, None], [float("nan"), 2.0]]), floats) == []
