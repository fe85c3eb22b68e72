import pyarrow as pa
import pytest

from scoreline.models import Contract, ContractError, Feature

AGE = Contract((Feature("age"), Feature("plan", "text"), Feature("extra", "any")), "frame")


def schema(**types: pa.DataType) -> pa.Schema:
    return pa.schema({"age": pa.int64(), "plan": pa.string(), "extra": pa.bool_()} | types)


def test_names_are_in_the_models_order():
    assert AGE.names == ("age", "plan", "extra")


def test_a_column_cannot_be_taken_twice():
    with pytest.raises(ContractError, match=r"takes each column once, but \['x'\] repeat"):
        Contract((Feature("x"), Feature("x")))


def test_a_text_model_takes_one_column():
    with pytest.raises(ContractError, match=r"takes one column, but 2 were named: \['x', 'y'\]"):
        Contract((Feature("x", "text"), Feature("y", "text")), "text")


def test_a_contract_without_features_takes_any_table():
    Contract(()).check(pa.schema([("x", pa.list_(pa.int8()))]), "churn")


def test_missing_columns_are_named_with_what_looks_like_them():
    came = pa.schema([("Age", pa.int64()), ("plann", pa.string()), ("zip", pa.string())])
    with pytest.raises(ContractError) as raised:
        AGE.check(came, "churn")
    message = str(raised.value)
    assert "model 'churn' needs columns ['age', 'plan', 'extra'] that the input lacks" in message
    assert "it has ['Age', 'plann', 'zip']" in message
    assert "'Age' looks like 'age'; 'plann' looks like 'plan'" in message
    assert "Rename them in the input, or name the model's columns" in message


def test_missing_columns_without_anything_like_them():
    with pytest.raises(ContractError, match=r"it has \[\]\. Rename"):
        AGE.check(pa.schema([]), "churn")


def test_a_needed_column_must_not_stand_twice():
    twice = pa.schema([("age", pa.int64()), ("age", pa.int8()), ("zip", pa.int8())])
    with pytest.raises(ContractError, match=r"needs columns \['age'\], and the input has more"):
        Contract((Feature("age"),)).check(twice, "churn")


NUMBERS = [
    pa.int8(),
    pa.uint64(),
    pa.float16(),
    pa.float64(),
    pa.bool_(),
    pa.decimal128(10, 2),
    pa.decimal256(50, 2),
    pa.null(),
    pa.string(),
    pa.large_string(),
    pa.string_view(),
    pa.dictionary(pa.int8(), pa.float32()),
    pa.dictionary(pa.int32(), pa.string()),
]
NEITHER = [
    pa.timestamp("us"),
    pa.timestamp("ns", "UTC"),
    pa.date32(),
    pa.time64("us"),
    pa.duration("s"),
    pa.list_(pa.float64()),
    pa.list_(pa.float64(), 2),
    pa.struct([("x", pa.float64())]),
    pa.map_(pa.string(), pa.float64()),
    pa.dictionary(pa.int8(), pa.timestamp("s")),
]


@pytest.mark.parametrize("type_", NUMBERS, ids=str)
def test_what_may_be_a_number(type_: pa.DataType):
    AGE.check(schema(age=type_), "churn")


@pytest.mark.parametrize("type_", [*NEITHER, pa.binary()], ids=str)
def test_what_is_no_number_stops_the_job_before_it_starts(type_: pa.DataType):
    with pytest.raises(ContractError) as raised:
        AGE.check(schema(age=type_), "churn")
    assert str(raised.value) == (
        f"model 'churn' takes a number in column 'age', but the input has {type_} there. Convert "
        "the column in the input, or with --preprocess."
    )


@pytest.mark.parametrize(
    "type_",
    [
        pa.string(),
        pa.large_string(),
        pa.string_view(),
        pa.binary(),
        pa.null(),
        pa.dictionary(pa.int8(), pa.string()),
    ],
    ids=str,
)
def test_what_may_be_text(type_: pa.DataType):
    AGE.check(schema(plan=type_), "churn")


@pytest.mark.parametrize("type_", [*NEITHER, pa.int64(), pa.bool_()], ids=str)
def test_what_is_no_text_stops_the_job_before_it_starts(type_: pa.DataType):
    with pytest.raises(ContractError, match="takes text in column 'plan', but the input has"):
        AGE.check(schema(plan=type_), "churn")


@pytest.mark.parametrize("type_", [*NEITHER, *NUMBERS], ids=str)
def test_any_takes_what_the_model_was_trained_on(type_: pa.DataType):
    AGE.check(schema(extra=type_), "churn")


@pytest.mark.parametrize(
    "type_",
    [pa.string(), pa.large_string(), pa.int8(), pa.uint64(), pa.dictionary(pa.int8(), pa.string())],
    ids=str,
)
def test_a_category_is_text_or_a_whole_number(type_: pa.DataType):
    Contract((Feature("plan", "category"),)).check(pa.schema([("plan", type_)]), "churn")


@pytest.mark.parametrize("type_", [pa.float64(), pa.bool_(), pa.date32()], ids=str)
def test_what_is_no_category(type_: pa.DataType):
    with pytest.raises(ContractError) as raised:
        Contract((Feature("plan", "category"),)).check(pa.schema([("plan", type_)]), "churn")
    assert str(raised.value) == (
        f"model 'churn' takes text or whole numbers in column 'plan', but the input has {type_} "
        "there. Convert the column in the input, or with --preprocess."
    )


KNOWN = Contract((Feature("zip", "any", known="text"), Feature("plan", "any", known="number")))


def test_a_column_of_categories_none_of_which_the_model_could_know():
    came = pa.schema({"zip": pa.string(), "plan": pa.int8()})
    KNOWN.check(came, "churn")
    KNOWN.check(pa.schema({"zip": pa.null(), "plan": pa.null()}), "churn")
    KNOWN.check(pa.schema({"zip": pa.dictionary(pa.int8(), pa.string()), "plan": pa.bool_()}), "c")
    for type_ in (pa.int64(), pa.bool_(), pa.dictionary(pa.int8(), pa.int64())):
        with pytest.raises(ContractError) as raised:
            KNOWN.check(pa.schema({"zip": type_, "plan": pa.int8()}), "churn")
        assert str(raised.value) == (
            f"model 'churn' was trained on text in column 'zip', but the input has {type_} there: "
            "none of its values would be one that the model knows. Convert the column in the "
            "input, or with --preprocess."
        )
    with pytest.raises(ContractError, match="trained on numbers in column 'plan', but the input"):
        KNOWN.check(pa.schema({"zip": pa.string(), "plan": pa.string()}), "churn")
