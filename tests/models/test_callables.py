import batch_functions
import pytest

from scoreline.models import ModelError
from scoreline.models.callables import load_callable


def test_a_function_is_imported_by_its_name():
    assert load_callable("batch_functions:drop_b") is batch_functions.drop_b
    assert load_callable("batch_functions:Callable.__call__") is batch_functions.Callable.__call__


@pytest.mark.parametrize("reference", ["", "x", ":f", "x:", ".x:f", "batch_functions.drop_b"])
def test_a_malformed_reference(reference: str):
    with pytest.raises(ModelError, match=r"expected package\.module:function, got"):
        load_callable(reference)


@pytest.mark.parametrize("name", ["nothing", "not_callable", "Callable.nothing", "a.b"])
def test_a_function_that_is_not_there(name: str):
    with pytest.raises(ModelError, match=f"'batch_functions' has no function '{name}', which"):
        load_callable(f"batch_functions:{name}")


def test_a_module_that_is_not_there():
    with pytest.raises(ModelError) as raised:
        load_callable("frauds.features:add")
    assert str(raised.value) == (
        "cannot import 'frauds.features' of 'frauds.features:add': No module named 'frauds'. "
        "Install the package that holds it, or put its folder on PYTHONPATH."
    )


def test_a_module_that_fails_when_imported():
    with pytest.raises(ModelError, match="'broken_import:f' failed: RuntimeError: no licence"):
        load_callable("broken_import:f")
