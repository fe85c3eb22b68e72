"""Loads a user's function from `package.module:function`."""

import importlib
from collections.abc import Callable
from typing import Any

from .errors import ModelError


def load_callable(reference: str) -> Callable[..., Any]:
    """Imports the function that `package.module:function` names.

    Raises:
        ModelError: the reference is malformed, or the module or function cannot be had.
    """
    module_name, colon, attribute = reference.partition(":")
    if not colon or not module_name or not attribute or module_name.startswith("."):
        raise ModelError(f"expected package.module:function, got {reference!r}")
    try:
        target: Any = importlib.import_module(module_name)
    except ImportError as error:
        raise ModelError(
            f"cannot import {module_name!r} of {reference!r}: {error}. Install the package that "
            "holds it, or put its folder on PYTHONPATH."
        ) from error
    except Exception as error:  # the user's own code runs when it is imported
        raise ModelError(
            f"importing {module_name!r} of {reference!r} failed: {type(error).__name__}: {error}"
        ) from error
    for name in attribute.split("."):
        target = getattr(target, name, None)
    if not callable(target):
        raise ModelError(
            f"{module_name!r} has no function {attribute!r}, which {reference!r} names"
        )
    return target
