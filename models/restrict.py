"""Narrows a model's contract by what an operator demands of its columns."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches

from .contract import Category, Contract, Feature, Kind
from .errors import ContractError


@dataclass(frozen=True)
class Rule:
    """What an operator demands of a column, on top of what the model does.

    Attributes:
        kind: what the column holds; told by the range and the categories if None.
        required: a missing value is refused though the model would take it.
        minimum: the least number that is accepted.
        maximum: the greatest number that is accepted.
        categories: the only values that are accepted.
    """

    kind: Kind | None = None
    required: bool = False
    minimum: float | None = None
    maximum: float | None = None
    categories: tuple[Category, ...] | None = None

    @property
    def implied_kind(self) -> Kind | None:
        """The kind that is named, or the one that range and categories make sense for."""
        if self.kind not in (None, "any"):
            return self.kind
        if self.minimum is not None or self.maximum is not None:
            return "number"
        if self.categories is not None:
            return "text" if isinstance(self.categories[0], str) else "number"
        return self.kind


def restrict(contract: Contract, rules: Mapping[str, Rule], model_name: str) -> Contract:
    """Narrows a contract. Rules can refuse rows that the model would take, never the other way.

    A contract without columns, of a model that takes whole batches, gets those of the rules.

    Raises:
        ContractError: a rule is about a column that the model does not take, or takes otherwise.

    >>> restrict(Contract((Feature("age"),)), {"age": Rule(minimum=0)}, "churn").features[0].minimum
    0
    """
    if not rules:
        return contract
    added = [name for name in rules if name not in contract.names]
    if added and contract.names:
        near = get_close_matches(added[0], contract.names, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else "."
        raise ContractError(
            f"model.contract.{added[0]}: model {model_name!r} does not take this column{hint} "
            f"It takes {list(contract.names)}"
        )
    features = (*contract.features, *(Feature(name, "any") for name in added))
    return replace(
        contract,
        features=tuple(
            _restricted(feature, rules[feature.name], model_name)
            if feature.name in rules
            else feature
            for feature in features
        ),
    )


def _restricted(feature: Feature, rule: Rule, model_name: str) -> Feature:
    kind = rule.implied_kind or feature.kind
    names_category = feature.kind == "category" and kind in ("text", "number")
    if kind == "any" or names_category:  # a category is named by text or by a whole number
        kind = feature.kind
    if feature.kind not in ("any", kind):
        raise ContractError(
            f"model.contract.{feature.name}: model {model_name!r} takes a column of the type "
            f"{feature.kind} there, but the contract is about one of the type {kind}"
        )
    return replace(
        feature,
        kind=kind,
        required=rule.required,
        minimum=rule.minimum,
        maximum=rule.maximum,
        categories=rule.categories,
    )
