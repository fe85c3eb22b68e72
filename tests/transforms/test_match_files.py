from pathlib import Path

import pytest

from scoreline.transforms.match_files import match_files

NAMES = [
    "a.parquet",
    "b[1].parquet",
    "_h.parquet",
    ".hidden",
    "sub/c.parquet",
    "sub/_dead_letters/part-00000-conform.parquet",
    "_run/r/x.parquet",
    "_data/d.parquet",
    "_data/_SUCCESS",
]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in NAMES:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    return tmp_path


CASES = [
    ("a.parquet", ["a.parquet"]),
    ("_h.parquet", ["_h.parquet"]),
    ("b[1].parquet", ["b[1].parquet"]),
    ("*.parquet", ["a.parquet", "b[1].parquet"]),
    ("?.parquet", ["a.parquet"]),
    ("[ab]*", ["a.parquet", "b[1].parquet"]),
    ("?ub/*.parquet", ["sub/c.parquet"]),
    ("**", ["a.parquet", "b[1].parquet", "sub/c.parquet"]),
    ("./*.parquet", ["./a.parquet", "./b[1].parquet"]),
    ("sub/**", ["sub/c.parquet"]),
    ("sub/../*.parquet", ["sub/../a.parquet", "sub/../b[1].parquet"]),
    ("_data/*", ["_data/d.parquet"]),
    ("_data/_*", ["_data/_SUCCESS"]),
    ("_*.parquet", ["_h.parquet"]),
    ("sub/_*/*", ["sub/_dead_letters/part-00000-conform.parquet"]),
    ("_data", ["_data/d.parquet"]),
    ("sub/", ["sub/c.parquet"]),
    (".", ["./a.parquet", "./b[1].parquet", "./sub/c.parquet"]),
    ("none/*.parquet", []),
    ("none.parquet", []),
]


@pytest.mark.parametrize(("pattern", "expected"), CASES)
def test_local_patterns(folder, pattern, expected):
    assert match_files(pattern) == expected


def test_an_absolute_pattern_below_a_hidden_folder(folder):
    assert match_files(f"{folder}/_data/*.parquet") == [f"{folder}/_data/d.parquet"]


def test_a_folder_whose_name_has_a_special_character(tmp_path):
    (tmp_path / "x[1]").mkdir()
    (tmp_path / "x[1]" / "a.parquet").touch()
    assert match_files(str(tmp_path / "x[1]")) == [str(tmp_path / "x[1]" / "a.parquet")]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("memory://b/*.parquet", ["a.parquet", "b[1].parquet"]),
        ("memory://b/**", ["a.parquet", "b[1].parquet", "sub/c.parquet"]),
        ("memory://b/", ["a.parquet", "b[1].parquet", "sub/c.parquet"]),
        ("memory://b/b[1].parquet", ["b[1].parquet"]),
        ("memory://b/_h.parquet", ["_h.parquet"]),
        ("memory://b/none", []),
    ],
)
def test_remote_patterns(memory, pattern, expected):
    for name in NAMES:
        memory.files[f"memory://b/{name}"] = b""
    assert match_files(pattern) == [f"memory://b/{name}" for name in expected]
