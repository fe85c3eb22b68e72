"""The input columns of a model: those that it remembers, or those that a person named."""

from .errors import ContractError


def named_features(
    known: tuple[str, ...] | None,
    count: int,
    features: tuple[str, ...] | None,
    model_name: str,
) -> tuple[str, ...]:
    """Decides what a model's columns are called.

    Args:
        known: the names in the model's file; None if it was trained on a matrix without names.
        count: how many columns the model takes.
        features: the names that a person gave, in the order of training.
        model_name: for the error.

    Raises:
        ContractError: there are no names, too many, too few, or others than the model's.

    >>> named_features(None, 2, ("age", "income"), "churn")
    ('age', 'income')
    """
    if features is None:
        if known is None:
            raise ContractError(unnamed(count, model_name))
        return known
    if known is not None and features != known:
        raise ContractError(
            f"model {model_name!r} was trained on the columns {list(known)}, but --features "
            f"names {list(features)}. Leave --features out: columns are matched by name."
        )
    check_count(count, features, model_name)
    return features


def unnamed(count: int | None, model_name: str) -> str:
    """What to say of a model that does not know its columns' names."""
    takes = f"{count} columns" if count is not None else "columns"
    return (
        f"model {model_name!r} was trained on a matrix without names: it takes {takes} and cannot "
        "know which. Name them in the order of training with --features a,b,c"
    )


def check_count(count: int | None, features: tuple[str, ...], model_name: str) -> None:
    """Raises ContractError unless there are as many names as the model takes columns."""
    if count is not None and count != len(features):
        raise ContractError(
            f"model {model_name!r} takes {count} columns, but --features names {len(features)}: "
            f"{list(features)}. Name each of them once, in the order of training."
        )
