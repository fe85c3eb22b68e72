import importlib
import subprocess
import sys

import scoreline.models


def test_the_public_names_are_sorted_and_there():
    names = scoreline.models.__all__
    assert names == sorted(set(names))
    for name in names:
        assert hasattr(scoreline.models, name)


def test_a_plain_import_is_refused(monkeypatch):
    # A worker could not unpickle what was defined in a module called `models`.
    code = "import sys; sys.path.insert(0, sys.argv[1]); import models"
    folder = importlib.import_module("pathlib").Path(scoreline.models.__file__).parents[1]
    found = subprocess.run(
        [sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=False
    )
    assert found.returncode == 1
    assert "import scoreline.models, not models" in found.stderr
