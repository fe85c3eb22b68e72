import sys
from types import ModuleType

import pytest

from scoreline.models import ModelError, Trust
from scoreline.models.artifact import Artifact
from scoreline.models.model_format import needs_no_trust, require

ARTIFACT = Artifact("gs://models/m.bin", b"x")


def test_a_library_is_imported_when_it_is_needed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "treelib", library := ModuleType("treelib"))
    assert require("treelib", "trees", ARTIFACT) is library


def test_a_missing_library_is_an_error_that_names_the_extra():
    with pytest.raises(ModelError) as raised:
        require("no_such_library", "trees", ARTIFACT)
    assert str(raised.value) == (
        "model gs://models/m.bin needs the library no_such_library, which cannot be imported: "
        "No module named 'no_such_library'. Install it: pip install 'scoreline[trees]'"
    )


def test_a_library_that_cannot_start(tmp_path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "half_installed.py").write_text("raise OSError('libgomp.so.1: cannot open')")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ModelError, match=r"cannot be imported: libgomp\.so\.1: cannot open"):
        require("half_installed", "trees", ARTIFACT)


def test_data_needs_no_trust():
    needs_no_trust(ARTIFACT, Trust())
