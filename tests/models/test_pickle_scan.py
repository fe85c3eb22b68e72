"""A pickle's imports and attributes are found out without importing or making anything."""

import io
import pickle
import zlib
from collections import OrderedDict, defaultdict
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoreline.models import pickle_scan
from scoreline.models.pickle_scan import Array, Thing, array_of, scalar_of, scan_pickle


class Bomb:
    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def dumped(value: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    joblib.dump(value, buffer, **options)
    return buffer.getvalue()


def test_nothing_runs_and_everything_is_named(tmp_path: Path):
    scan = scan_pickle(dumped({"a": [Bomb(tmp_path / "ran")], "b": partial(eval, "1")}))
    assert scan.problem is None
    assert not (tmp_path / "ran").exists()
    assert {"pathlib.PosixPath", "functools.partial", "builtins.eval"} <= set(scan.imports)


@pytest.mark.parametrize("protocol", range(6))
def test_objects_of_every_protocol(protocol: int):
    value = {
        "set": {1},
        "ordered": OrderedDict(a=1),
        "default": defaultdict(list, a=[1]),
        "decimal": Decimal("1.5"),
        "when": datetime(2026, 1, 1, tzinfo=UTC),
        "tuple": (1, "a", b"b", None, True, 2.5, 10**30),
        "exception": ValueError("x"),
        "range": range(3),
        "complex": 1j,
    }
    scan = scan_pickle(pickle.dumps(value, protocol))
    assert scan.problem is None
    assert scan.top["tuple"][:2] == (1, "a")
    assert isinstance(scan.top["ordered"], Thing)
    assert "decimal.Decimal" in scan.imports
    assert "builtins.ValueError" in scan.imports  # protocols 0 to 2 write `exceptions`


@pytest.mark.parametrize("compress", [0, 3, ("gzip", 3), ("bz2", 3), ("xz", 3), ("lzma", 3)])
@pytest.mark.parametrize(
    ("array", "values"),
    [
        (np.arange(3), [0, 1, 2]),
        (np.array([1.5, -2.0], ">f4"), [1.5, -2.0]),
        (np.array([True, False]), [True, False]),
        (np.array(["no", "yes"]), ["no", "yes"]),
        (np.array(["no", None], object), ["no", None]),
        (np.zeros((3, 4)), None),
        (np.zeros(20_000), None),
        (np.array(7), None),
    ],
)
def test_arrays_between_the_opcodes_are_read_or_skipped(compress: Any, array: Any, values: Any):
    scan = scan_pickle(dumped({"before": array, "after": "here"}, compress=compress))
    assert scan.problem is None
    assert scan.top["after"] == "here"
    assert scan.top["before"].values == values
    plain = scan_pickle(pickle.dumps(array))
    found = array_of(plain.top)
    assert found is not None
    assert found.values == values


def test_structured_arrays_are_skipped():
    array = np.zeros(5, [("left", "i8"), ("value", "f8")])
    scan = scan_pickle(dumped([array, "after"]))
    assert scan.top[1] == "after"
    objects = np.array([(1, "a")], [("number", "i8"), ("text", "O")])
    assert scan_pickle(dumped([objects, "after"])).top[1] == "after"


def test_scalars():
    scan = scan_pickle(pickle.dumps({"a": np.float64(1.5), "b": np.int64(3), "c": 1}))
    assert [scalar_of(value) for value in scan.top.values()] == [1.5, 3, 1]
    assert scalar_of(Thing("numpy._core.multiarray.scalar", ("x",))).args == ("x",)


def test_what_is_crafted_is_no_array():
    for state in (None, 3, (1, 2), (1, "x", "y", 0, b""), (1, (2,), Thing("x"), 0, b"")):
        thing = Thing("numpy._core.multiarray._reconstruct")
        thing.state = state
        assert array_of(thing) is None
    assert array_of("text") is None
    assert array_of(Array((1,), [1])) == Array((1,), [1])


@pytest.mark.parametrize("cut", [1, 10, 60])
def test_a_file_that_is_cut_short_tells_what_it_told_until_then(cut: int):
    data = dumped([Decimal(1), np.arange(100.0)], compress=0)
    scan = scan_pickle(data[:-cut])
    assert scan.problem
    assert "decimal.Decimal" in scan.imports


def test_more_than_the_bound(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pickle_scan, "_MAX_BYTES", 1_000)
    scan = scan_pickle(zlib.compress(pickle.dumps(bytes(5_000))))
    assert scan.problem == "OverflowError: it unpacks to more than 1,000 bytes"


def test_a_compressed_file_that_is_cut_short():
    scan = scan_pickle(zlib.compress(pickle.dumps(list(range(10_000))))[:-40])
    assert scan.problem is not None


@given(st.binary(max_size=300))
def test_any_bytes_end_in_a_scan(data: bytes):
    scan_pickle(b"\x80\x04" + data)
