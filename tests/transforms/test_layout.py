import re
from pathlib import Path

import pytest

from scoreline.transforms import FileLayout, Receipt

FOLDER = FileLayout("out")
FILE = FileLayout("out.parquet")


def predicted(split, path=None):
    return Receipt("predicted", split, 1, path or f"staged/p{split}")


def dead(split, stage="conform", path=None):
    return Receipt("dead_lettered", split, 1, path or f"d{split}{stage}", ((f"{stage}/x", 1, ""),))


def test_names_below_a_folder():
    assert not FOLDER.is_one_file
    assert FOLDER.dead_letter_path == "out/_dead_letters"
    assert FOLDER.run_folder("r") == FOLDER.own_folder("r") == "out/_run/r"
    assert FOLDER.staging("r") == "out/_run/r/staged"
    assert FileLayout("gs://b/out/").dead_letter_path == "gs://b/out/_dead_letters"


def test_names_beside_a_file():
    assert FILE.is_one_file
    assert FILE.dead_letter_path == "out.parquet.dead_letters.parquet"
    assert FILE.run_folder("r") == "out.parquet.run/r"
    assert FILE.staging("r") == "out.parquet.run/r/staged"


def test_places_of_their_own():
    layout = FileLayout("out", dead_letters="dl.parquet", report="runs")
    assert layout.dead_letter_path == "dl.parquet"
    assert layout.run_folder("r") == "runs/r"
    assert layout.own_folder("r") == "out/_run/r"  # on the output's file system
    assert layout.staging("r") == "out/_run/r/staged"


@pytest.mark.parametrize("path", ["out", "out/", "out/dead", "./out/x/y.parquet"])
@pytest.mark.parametrize("what", ["dead_letters", "report"])
def test_nothing_else_may_lie_among_the_predictions(what, path):
    with pytest.raises(ValueError, match=rf"cannot go to {re.escape(path)}: .* in out would read"):
        FileLayout("out", **{what: path})


@pytest.mark.parametrize("path", ["out/_dl", "out/a/_b/c", "outside", "../out", "gs://b/out"])
def test_other_places_are_fine(path):
    assert FileLayout("out", dead_letters=path, report=path).run_root == path


@pytest.mark.parametrize("path", ["dead.csv", "dead.jsonl.gz", "dead.pq"])
def test_dead_letters_are_parquet(path):
    with pytest.raises(ValueError, match=rf"{re.escape(path)}: they are always Parquet"):
        FileLayout("out", dead_letters=path)


def test_the_file_itself_cannot_hold_the_dead_letters_too():
    with pytest.raises(ValueError, match=r"cannot go to out\.parquet"):
        FileLayout("out.parquet", dead_letters="out.parquet")
    assert FileLayout("out.parquet", dead_letters="out.parquet.dl").dead_letters is not None


def test_parts_are_named_by_split_and_stage():
    receipts = [dead(1, "predict"), predicted(1), dead(1), predicted(0), Receipt("read", 0, 1)]
    assert FOLDER.moves(receipts) == [
        ("d1conform", "out/_dead_letters/part-00001-conform.parquet"),
        ("d1predict", "out/_dead_letters/part-00001-predict.parquet"),
        ("staged/p0", "out/part-00000.parquet"),
        ("staged/p1", "out/part-00001.parquet"),
    ]


def test_several_parts_of_a_split_sort_by_name_as_they_are_numbered():
    moves = FOLDER.moves([predicted(1), predicted(0, "b"), predicted(0, "a"), predicted(0, "c")])
    targets = [target for _, target in moves]
    assert moves[:2] == [
        ("a", "out/part-00000-001.parquet"),
        ("b", "out/part-00000-002.parquet"),
    ]
    assert targets == sorted(targets)
    assert len(set(targets)) == 4


def test_one_file_each():
    assert FILE.moves([predicted(0), dead(0)]) == [
        ("d0conform", "out.parquet.dead_letters.parquet"),
        ("staged/p0", "out.parquet"),
    ]


def test_dead_letters_without_codes_have_a_name_too():
    receipt = Receipt("dead_lettered", 0, 1, "d")
    assert FOLDER.moves([receipt]) == [("d", "out/_dead_letters/part-00000-any.parquet")]


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def make(*names):
        for name in names:
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            Path(name).touch()

    return make


OURS = [
    "part-00000.parquet",
    "part-100000.parquet",
    "part-00001-002.parquet",
    "_dead_letters/part-00000-conform.parquet",
    "_dead_letters/part-00000-predict-002.parquet",
]
NOT_OURS = ["data.csv", "part-0.parquet", "part-00000.snappy.parquet", "sub/part-00000.parquet"]
HIDDEN = ["_SUCCESS", ".x.parquet", "_dead_letters/mine.parquet", "_run/r/report.json"]


@pytest.mark.parametrize("output", ["out", "./out", "out/", "a/../out", "_out", "./_hidden/out"])
def test_what_stands_there_is_told_apart(files, output):
    files("a/x", *(f"{output}/{name}" for name in [*OURS, *NOT_OURS, *HIDDEN]))
    layout = FileLayout(output)
    folder = output.rstrip("/")
    assert sorted(layout.existing()) == sorted(f"{folder}/{name}" for name in OURS)
    assert sorted(layout.foreign()) == sorted(f"{folder}/{name}" for name in NOT_OURS)


def test_an_absolute_folder(files, tmp_path):
    files("out/part-00000.parquet", "out/x.csv")
    layout = FileLayout(str(tmp_path / "out"))
    assert layout.existing() == [str(tmp_path / "out/part-00000.parquet")]
    assert layout.foreign() == [str(tmp_path / "out/x.csv")]


def test_nothing_stands_where_nothing_was_written(files):
    for layout in (FOLDER, FILE):
        assert layout.existing() == []
        assert layout.foreign() == []


def test_files_of_one_file_outputs(files):
    files("out.parquet", "out.parquet.dead_letters.parquet", "other.parquet")
    assert FILE.existing() == ["out.parquet", "out.parquet.dead_letters.parquet"]
    assert FILE.foreign() == []


def test_dead_letters_in_a_folder_of_others(files):
    """Only what a run of ours would write there may ever be replaced."""
    files("dl/part-00000-conform.parquet", "dl/part-00000.parquet", "dl/t/part-00000-x.parquet")
    assert FileLayout("out", "dl").existing() == ["dl/part-00000-conform.parquet"]


def test_a_remote_folder(memory):
    for name in [*OURS, *NOT_OURS]:
        memory.files[f"memory://b/out[1]/{name}"] = b""
    layout = FileLayout("memory://b/out[1]")
    assert len(layout.existing()) == len(OURS)
    assert len(layout.foreign()) == len(NOT_OURS)


@pytest.mark.parametrize(
    ("output", "part_extension", "extension"),
    [
        ("out", ".jsonl", ".jsonl"),
        ("out.v1", ".csv", ".csv"),
        ("out.parquet", ".csv", ".parquet"),
        ("a.b.jsonl", ".parquet", ".jsonl"),
        ("gs://b/x.y/out.csv.GZ", ".parquet", ".csv.GZ"),
        ("out.tsv.zst", ".parquet", ".tsv.zst"),
    ],
)
def test_what_prediction_files_end_in(output, part_extension, extension):
    layout = FileLayout(output, part_extension=part_extension)
    assert layout.extension == extension
    assert (
        layout.is_one_file == (not output.startswith("out") or output[3:4] == ".") or "v1" in output
    )


def test_parts_of_any_format(files):
    files("out/part-00000.jsonl", "out/part-00001.csv", "out/part-00002.avro", "out/x.jsonl")
    layout = FileLayout("out", part_extension=".jsonl")
    assert layout.existing() == [
        f"out/part-0000{n}" + e for n, e in enumerate((".jsonl", ".csv", ".avro"))
    ]
    assert layout.foreign() == ["out/x.jsonl"]
    moves = layout.moves([predicted(0, "a"), predicted(0, "b"), dead(0)])
    assert [target for _, target in moves] == [
        "out/_dead_letters/part-00000-conform.parquet",
        "out/part-00000-001.jsonl",
        "out/part-00000-002.jsonl",
    ]


@pytest.mark.parametrize("name", ["x.parquet.gz", "x.avro.zst", "x.pq.BZ2"])
def test_what_is_compressed_inside_is_not_compressed_as_a_whole(name):
    stem = name.rpartition(".")[0]
    with pytest.raises(ValueError, match=f"compressed inside.* name the output {stem}\\.$"):
        FileLayout(f"out/{name}")
