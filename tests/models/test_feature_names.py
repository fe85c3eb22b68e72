import pytest

from scoreline.models import ContractError
from scoreline.models.feature_names import named_features


def test_the_models_own_names():
    assert named_features(("a", "b"), 2, None, "churn") == ("a", "b")
    assert named_features(("a", "b"), 2, ("a", "b"), "churn") == ("a", "b")


def test_names_for_a_model_without():
    assert named_features(None, 2, ("a", "b"), "churn") == ("a", "b")


@pytest.mark.parametrize(
    ("known", "features", "message"),
    [
        (
            None,
            None,
            "model 'churn' was trained on a matrix without names: it takes 2 columns and cannot "
            "know which. Name them in the order of training with --features a,b,c",
        ),
        (
            None,
            ("a",),
            "model 'churn' takes 2 columns, but --features names 1: ['a']. Name each of them once, "
            "in the order of training.",
        ),
        (
            ("a", "b"),
            ("b", "a"),
            "model 'churn' was trained on the columns ['a', 'b'], but --features names "
            "['b', 'a']. Leave --features out: columns are matched by name.",
        ),
    ],
    ids=["none", "too few", "others"],
)
def test_what_does_not_fit(
    known: tuple[str, ...] | None, features: tuple[str, ...] | None, message: str
):
    with pytest.raises(ContractError) as raised:
        named_features(known, 2, features, "churn")
    assert str(raised.value) == message
