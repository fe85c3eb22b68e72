from pathlib import Path

import pytest

from scoreline.pipelines.near import near_file, near_name


def test_names() -> None:
    assert near_name("predit", ["predict", "transform"]) == "; did you mean predict?"
    assert near_name("x", ["predict"]) == ""
    assert near_name("A", ["b", "a"]) == "; did you mean a?"


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("gs://bucket/x", ". Check its spelling, and that you may read it."),
        ("nowhere/x", ": there is no folder nowhere"),
        ("data/one.parqet", "; did you mean data/one.parquet?"),
        ("data/zzz", ": data holds one.parquet, two.csv"),
        ("data", ": data holds one.parquet, two.csv"),
        ("empty/x", ": empty holds nothing"),
    ],
)
def test_files(workdir: Path, path: str, said: str) -> None:
    for name in ("data/one.parquet", "data/two.csv", "data/.hidden", "empty/.hidden"):
        (workdir / name).parent.mkdir(exist_ok=True)
        (workdir / name).touch()
    assert near_file(path) == said
