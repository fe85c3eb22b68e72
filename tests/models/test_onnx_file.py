"""An ONNX file is told by its fields; one that is broken or wants more than itself is refused."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hostile_onnx
import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import ModelProto, helper
from onnx_models import FLOAT, artifact, graph, load, passing, value

from scoreline.models import ModelError, Trust, UntrustedModelError
from scoreline.models.artifact import Artifact
from scoreline.models.onnx_file import check_self_contained, custom_domains, external_data, is_onnx
from scoreline.models.onnx_model import FORMAT
from scoreline.models.registry import format_of

MODEL = passing(("x", FLOAT, [None, 1]))
DATA = MODEL.SerializeToString()


def told(data: bytes) -> bool:
    return is_onnx(Artifact("m", data))


def test_a_file_is_told_from_its_content():
    assert format_of(Artifact("m.bin", DATA)).name == "onnx"
    assert format_of(Artifact("m.joblib", DATA)).name == "onnx"


def test_the_fields_may_be_in_any_order():
    graph_only, rest = ModelProto(graph=MODEL.graph), ModelProto()
    rest.CopyFrom(MODEL)
    rest.ClearField("graph")
    assert told(graph_only.SerializeToString() + rest.SerializeToString())
    assert told(rest.SerializeToString() + graph_only.SerializeToString())


@given(st.binary(max_size=200))
def test_random_bytes_are_no_onnx(data: bytes):
    assert not told(data)


def test_a_file_that_is_cut_short_is_refused_wherever_it_is_cut():
    whole = ModelProto()
    whole.CopyFrom(MODEL)
    del whole.opset_import[1:]  # of two at the end, one may be missing
    data = whole.SerializeToString()
    told_lengths = [length for length in range(len(data)) if told(data[:length])]
    assert len(told_lengths) > len(data) / 2
    for length in told_lengths:
        with pytest.raises(ModelError, match=r"is cut short or damaged|may be damaged"):
            FORMAT.load(Artifact("m", data[:length]), Trust(), ("predict",), None)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x08",
        b"\x08\x08",
        b"\x08\x08\x3a",
        b"\x08\x08\x3a\x00",
        b"\x08\x08\x3a\x02\xff\xff",
        b"\x08\x01\x12\x04\x0a\x02hi",  # a TensorFlow SavedModel
        b"\xff" * 64,
        pickle.dumps({"a": 1}),
        b'{"learner": {}}',
        b"tree\nversion=v4\n",
        b"CBM1" + bytes(64),
    ],
    ids=repr,
)
def test_other_files_are_no_onnx(data: bytes):
    assert not told(data)


def test_a_missing_library_names_the_extra(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(ModelError, match=r"pip install 'scoreline\[onnx\]'"):
        FORMAT.load(Artifact("m", DATA), Trust(), ("predict",), None)


LOCATIONS = ["../../secret.bin", "secret.bin", "/tmp/secret.bin", "*/_ORT_MEM_ADDR_/*", ""]


@pytest.fixture
def nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library never gets to see the file, and no file is opened."""

    def fail(*_: Any, **__: Any) -> None:
        raise AssertionError("this must not be called")

    monkeypatch.setattr(onnxruntime, "InferenceSession", fail)
    monkeypatch.setattr(onnx, "load", fail)
    monkeypatch.setattr(onnx, "load_external_data_for_model", fail, raising=False)
    monkeypatch.setattr("builtins.open", fail)


@pytest.mark.parametrize("location", LOCATIONS)
@pytest.mark.parametrize("make", hostile_onnx.PLACES, ids=lambda make: make.__name__)
@pytest.mark.usefixtures("nothing_runs")
def test_data_outside_of_the_file_is_refused(make: Callable[[str], ModelProto], location: str):
    model = make(location)
    assert external_data(model) == (location,)
    for trust in (Trust(), Trust(sha256="0" * 64, allow_pickle=True, allow_code=True)):
        for refused in (
            check_self_contained,
            lambda *given: FORMAT.load(*given, ("predict",), None),
        ):
            with pytest.raises(UntrustedModelError) as raised:
                refused(artifact(model), trust)
            assert f"refers to data outside of the file, at {location!r}" in str(raised.value)
    assert any(
        "data outside of the file" in note for note in FORMAT.describe(artifact(model)).notes
    )


@pytest.mark.parametrize("location", ["secret.bin", "../here/secret.bin"])
def test_onnxruntime_by_itself_would_have_read_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, location: str
):
    """What the refusal is for: given the bytes alone, it looks in the current folder and above."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    Path("secret.bin").write_bytes(np.float32(42).tobytes())
    model = hostile_onnx.in_a_sparse_initializer(location)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    assert session.run(None, {"x": np.zeros((1, 1), np.float32)})[0].tolist() == [[42.0]]
    with pytest.raises(UntrustedModelError):
        load(model)


@pytest.mark.parametrize(
    "make",
    [hostile_onnx.with_a_custom_operator, hostile_onnx.with_a_custom_operator_inside],
    ids=lambda make: make.__name__,
)
@pytest.mark.usefixtures("nothing_runs")
def test_custom_operators_are_refused(make: Callable[[], ModelProto]):
    assert custom_domains(make()) == ("com.evil",)
    with pytest.raises(UntrustedModelError, match=r"needs operators of 'com.evil'.*never loaded"):
        load(make())


def test_operators_that_the_file_itself_defines_are_its_own():
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("made", 1)]
    body = [helper.make_node("Add", ["a", "a"], ["b"])]
    function = helper.make_function("made", "Twice", ["a"], ["b"], body, opsets[:1])
    model = graph(
        [helper.make_node("Twice", ["x"], ["y"], domain="made")],
        [value("x", FLOAT, None, 1)],
        [value("y", FLOAT, None, 1)],
        functions=[function],
        opset_imports=opsets,
    )
    assert custom_domains(model) == ()
    load(model)
