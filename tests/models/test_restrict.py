import pytest

from scoreline.models import Contract, ContractError, Feature
from scoreline.models.restrict import Rule, restrict

CONTRACT = Contract(
    (Feature("age", nullable=False), Feature("plan", "any"), Feature("note", "text")), "frame"
)


def test_without_rules_a_contract_is_what_it_was():
    assert restrict(CONTRACT, {}, "churn") is CONTRACT


def test_rules_narrow_columns_and_keep_the_order():
    rules = {
        "plan": Rule(categories=("basic", "gold"), required=True),
        "age": Rule(minimum=0, maximum=120),
    }
    narrowed = restrict(CONTRACT, rules, "churn")
    assert narrowed.layout == "frame"
    assert narrowed.features == (
        Feature("age", nullable=False, minimum=0, maximum=120),
        Feature("plan", "text", required=True, categories=("basic", "gold")),
        Feature("note", "text"),
    )


@pytest.mark.parametrize(
    ("rule", "kind"),
    [
        (Rule(), "any"),
        (Rule("any"), "any"),
        (Rule("number"), "number"),
        (Rule("text"), "text"),
        (Rule(minimum=1), "number"),
        (Rule("any", maximum=1), "number"),
        (Rule(categories=("a",)), "text"),
        (Rule(categories=(1, 2)), "number"),
        (Rule(categories=(True, False)), "number"),
    ],
)
def test_the_kind_is_named_or_follows_from_the_limits(rule: Rule, kind: str):
    assert restrict(CONTRACT, {"plan": rule}, "churn").features[1].kind == kind


def test_a_rule_cannot_widen():
    narrowed = restrict(CONTRACT, {"age": Rule("any", required=False)}, "churn")
    assert narrowed.features[0] == CONTRACT.features[0]
    with pytest.raises(ContractError) as raised:
        restrict(CONTRACT, {"age": Rule("text")}, "churn")
    assert str(raised.value) == (
        "model.contract.age: model 'churn' takes a column of the type number there, but the "
        "contract is about one of the type text"
    )
    with pytest.raises(ContractError, match="takes a column of the type text there, but the cont"):
        restrict(CONTRACT, {"note": Rule(minimum=0)}, "churn")


def test_a_rule_about_no_column_of_the_model():
    with pytest.raises(ContractError) as raised:
        restrict(CONTRACT, {"agee": Rule(minimum=0)}, "churn")
    assert str(raised.value) == (
        "model.contract.agee: model 'churn' does not take this column; did you mean 'age'? "
        "It takes ['age', 'plan', 'note']"
    )


def test_a_model_of_whole_batches_gets_the_columns_of_the_rules():
    narrowed = restrict(Contract((), "batch"), {"age": Rule(minimum=0)}, "churn")
    assert narrowed == Contract((Feature("age", "number", minimum=0),), "batch")


@pytest.mark.parametrize("known", [("basic", "gold"), (1, 2)], ids=str)
def test_a_category_is_named_by_text_or_by_numbers(known: tuple[str | float, ...]):
    contract = Contract((Feature("plan", "category"),))
    (feature,) = restrict(contract, {"plan": Rule(categories=known)}, "churn").features
    assert (feature.kind, feature.categories) == ("category", known)
