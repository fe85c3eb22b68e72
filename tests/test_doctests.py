"""Runs the doctests of every module, imported by its real name.

`pytest --doctest-modules` would import the folders as they stand, which they refuse.
"""

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LAYERS = ("models", "transforms", "pipelines")


def modules() -> list[str]:
    paths = (path for layer in LAYERS for path in (ROOT / layer).rglob("*.py"))
    dotted = (".".join(path.relative_to(ROOT).with_suffix("").parts) for path in sorted(paths))
    return [f"scoreline.{name.removesuffix('.__init__')}" for name in dotted]


@pytest.mark.parametrize("name", modules())
def test_examples_in_docstrings(name):
    module = importlib.import_module(name)
    assert module.__name__ == name
    assert Path(str(module.__file__)).is_relative_to(ROOT), "another installation is tested"
    assert module.__doc__, "a module says what it is for"
    outcome = doctest.testmod(module, optionflags=doctest.ELLIPSIS)
    assert outcome.failed == 0, "see the output above"


def test_there_are_examples():
    finder = doctest.DocTestFinder(exclude_empty=True)
    found = [test for name in modules() for test in finder.find(importlib.import_module(name))]
    assert sum(bool(test.examples) for test in found) >= 10
