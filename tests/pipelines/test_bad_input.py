"""Input that cannot be scored: what the user is told, and that nothing is left on disk."""

import errno
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from running import NUMBERS, Ended, alike, numbers, write
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

Score = Callable[..., Ended]


def refused(ended: Ended, *words: str, code: int = 2) -> None:
    """A run that ended with this code and these words, and left nothing."""
    assert ended.code == code, ended.err
    for word in words:
        assert word in ended.err
    assert ended.out == ""
    assert not Path("out").exists()


def test_a_missing_file_with_the_nearest_name(score: Score, workdir: Path) -> None:
    write(workdir / "data/customers.parquet", numbers(5))
    refused(
        score(input="data/costumers.parquet"),
        "no file matches --input data/costumers.parquet",
        "did you mean data/customers.parquet?",
    )


def test_a_missing_file_that_is_like_none(score: Score, workdir: Path) -> None:
    for name in "abcdefg":
        write(workdir / f"data/{name}", numbers(1))
    refused(score(input="data/customers.parquet"), "data holds a, b, c, d, e, ...")


@pytest.mark.parametrize(
    ("glob", "hint"),
    [
        ("data/*.parqet", "did you mean data/x.parquet?"),
        ("nowhere/*.parquet", "there is no folder nowhere"),
        ("empty/*.parquet", "empty holds nothing"),
        ("empty", "empty holds nothing"),
        ("gs-bucket://x/*.parquet", "there is no file system gs-bucket://"),
    ],
)
def test_a_glob_that_matches_nothing(score: Score, workdir: Path, glob: str, hint: str) -> None:
    write(workdir / "data/x.parquet", numbers(5))
    (workdir / "empty").mkdir()
    ended = score(input=glob)
    refused(ended, hint)


def test_positionals_are_what_a_shell_made_of_a_glob(score: Score, workdir: Path) -> None:
    refused(score("b.parquet"), "unexpected 'b.parquet'", "put it in quotes")


@pytest.mark.parametrize("content", [b"", b"a,b,c\n1,2,3\n"])
def test_files_that_are_no_parquet(score: Score, workdir: Path, content: bytes) -> None:
    (workdir / "in.parquet").write_bytes(content)
    refused(score(), "cannot read in.parquet as Parquet", "empty, cut short, or of another format")


def test_a_truncated_file(score: Score, workdir: Path) -> None:
    path = write(workdir / "in.parquet", numbers(100))
    path.write_bytes(path.read_bytes()[:-10])
    refused(score(), "cannot read in.parquet as Parquet", "cut short")


def corrupt(path: Path) -> None:
    """Breaks a page in the middle of a file; the footer stays whole."""
    write(path, numbers(5000), row_group_size=1000, use_dictionary=False)
    offset = pq.ParquetFile(path).metadata.row_group(3).column(0).data_page_offset
    data = bytearray(path.read_bytes())
    data[offset : offset + 100] = bytes(100)
    path.write_bytes(data)


@pytest.mark.parametrize("mode", ["in_memory", "multi_threading"])
def test_a_corrupt_page_fails_the_run(score: Score, workdir: Path, mode: str) -> None:
    corrupt(workdir / "in.parquet")
    ended = score(f"--direct_running_mode={mode}", "--direct_num_workers=2")
    refused(
        ended,
        "the run into out failed in Read: UnreadableFileError: cannot read in.parquet from row "
        "3000",
        "Nothing was made final; the same command starts anew.",
        code=1,
    )
    said = ended.err[ended.err.index("scoreline: the run") :]
    assert "Traceback" not in said
    assert "while running" not in said
    if mode == "in_memory":  # in the other modes Beam's workers print a trace themselves
        assert said == ended.err


def test_a_run_that_fails_leaves_the_old_output_alone(score: Score, workdir: Path) -> None:
    write(workdir / "good.parquet", numbers(10))
    assert score(input="good.parquet").code == 0
    before = pq.read_table("out")
    corrupt(workdir / "in.parquet")

    assert score("--overwrite").code == 1

    assert pq.read_table("out").equals(before)
    assert len(list(Path("out/_run").iterdir())) == 1


def test_folders_that_were_there_stay(score: Score, workdir: Path) -> None:
    corrupt(workdir / "in.parquet")
    (workdir / "mine").mkdir()
    assert score(output="mine/deep/out").code == 1
    assert Path("mine").is_dir()
    assert not list(Path("mine").iterdir())


@pytest.mark.parametrize("output", ["out", "out.parquet"])
def test_no_rows_give_an_empty_file_with_the_schema(
    score: Score, workdir: Path, output: str
) -> None:
    write(workdir / "in.parquet", numbers(0))
    ended = score("--outputs", "predict,predict_proba", "--row-id", output=output)
    assert ended.code == 0, ended.err
    scored = pq.read_table(output)
    assert scored.num_rows == 0
    assert scored.schema.field("prediction").type == pa.string()
    assert scored.schema.field("probability_yes").type == pa.float64()
    write(workdir / "some.parquet", numbers(3))
    score("--outputs", "predict,predict_proba", "--row-id", input="some.parquet", output="some")
    assert pq.read_schema("some/part-00000.parquet").equals(scored.schema)


def test_an_empty_file_among_others_adds_nothing(score: Score, workdir: Path) -> None:
    write(workdir / "data/1.parquet", numbers(0))
    write(workdir / "data/2.parquet", numbers(3))
    assert score(input="data").code == 0
    assert pq.read_table("out").num_rows == 3


def test_files_with_other_columns(score: Score, workdir: Path) -> None:
    write(workdir / "data/1.parquet", numbers(3))
    other = numbers(3).drop_columns("id").set_column(0, "a", pa.array([1, 2, 3]))
    write(workdir / "data/2.parquet", other.append_column("d", other["b"]))
    refused(
        score(input="data"),
        "the input files differ in their columns",
        "a: double in data/1.parquet, int64 in data/2.parquet",
        "id: int64 in data/1.parquet, missing in data/2.parquet",
        "d: missing in data/1.parquet, double in data/2.parquet",
        "Score them in separate runs",
    )


def test_files_with_columns_in_another_order(score: Score, workdir: Path) -> None:
    write(workdir / "data/1.parquet", numbers(3))
    write(workdir / "data/2.parquet", numbers(3).select(["id", "c", "b", "a"]))
    refused(score(input="data"), "the order or the nullability of the columns")


def test_a_missing_column_with_the_nearest_name(score: Score, workdir: Path) -> None:
    write(workdir / "in.parquet", numbers(3).rename_columns(["A", "b", "c", "id"]))
    refused(score(), "needs columns ['a']", "it has ['A', 'b', 'c', 'id']", "'A' looks like 'a'")


def test_a_column_of_a_type_that_is_no_number(score: Score, workdir: Path) -> None:
    table = numbers(2).set_column(0, "a", pa.array([[1.0], [2.0]]))
    write(workdir / "in.parquet", table)
    refused(score(), "takes a number in column 'a'", "list<", "Convert the column")


def test_text_that_spells_numbers_is_cast_and_the_rest_are_dead_letters(
    score: Score, workdir: Path, classifier: LogisticRegression
) -> None:
    write(workdir / "in.parquet", numbers(3).set_column(0, "a", pa.array(["1.5", "many", " -2 "])))
    assert score("--max-dead-letter-ratio", "1").code == 0
    scored = pq.read_table("out")
    assert scored["a"].to_pylist() == ["1.5", " -2 "]
    frame = scored.select(NUMBERS).to_pandas().astype({"a": float})
    assert scored["prediction"].to_pylist() == classifier.predict(frame).tolist()
    assert "column 'a': 'many' is no number" in str(pq.read_table("out/_dead_letters"))


def test_nulls_and_infinities_where_the_model_takes_them(score: Score, workdir: Path) -> None:
    frame = numbers(200).select(NUMBERS).to_pandas()
    frame.iloc[::3, 0] = np.nan
    model = HistGradientBoostingRegressor(max_iter=3).fit(frame, frame.b)
    joblib.dump(model, workdir / "m.joblib")
    table = pa.table({"a": [None, float("nan"), 1.0], "b": [1, 2, None], "c": [0.0, None, 1.0]})
    write(workdir / "in.parquet", table)
    assert score(model="m.joblib").code == 0
    expected = model.predict(table.to_pandas())
    assert pq.read_table("out")["prediction"].to_pylist() == expected.tolist()


def test_huge_integers(score: Score, workdir: Path, classifier: LogisticRegression) -> None:
    values = [2**63 - 1, -(2**63), 2**53 + 1, 0]
    table = pa.table({"a": values, "b": pa.array([2**64 - 1, 0, 1, 2], pa.uint64()), "c": values})
    write(workdir / "in.parquet", table)
    assert score().code == 0
    scored = pq.read_table("out")
    assert scored.select(NUMBERS).equals(table)
    assert scored["prediction"].to_pylist() == classifier.predict(table.to_pandas()).tolist()


def test_an_unseen_category_is_a_dead_letter_of_its_row(score: Score, workdir: Path) -> None:
    train = pa.table({"plan": ["free", "paid"] * 10, "n": range(20)}).to_pandas()
    encode = make_column_transformer((OneHotEncoder(), ["plan"]), remainder="passthrough")
    model = make_pipeline(encode, LogisticRegression()).fit(train, train.n > 9)
    joblib.dump(model, workdir / "m.joblib")
    plans = pa.array(["free", "gold", "paid"] * 20).dictionary_encode()
    write(workdir / "in.parquet", pa.table({"plan": plans, "n": range(60)}))

    ended = score("--max-dead-letter-ratio", "0.5", model="m.joblib")

    assert ended.code == 0, ended.err
    assert "predict/model_error  20   e.g. in.parquet#1: Found unknown categories" in ended.err
    assert pq.read_table("out")["n"].to_pylist() == [n for n in range(60) if n % 3 != 1]


def test_several_columns_of_one_name(score: Score, workdir: Path) -> None:
    columns = [pa.array([1.0])] * 4
    write(workdir / "in.parquet", pa.Table.from_arrays(columns, ["a", "b", "c", "a"]))
    refused(score(), "several columns of one name: ['a']", "rename them")


def test_names_with_blanks_dots_and_quotes(score: Score, workdir: Path) -> None:
    names = ["my col", "x.y", "q\"u'o"]
    frame = numbers(100).select(NUMBERS).rename_columns(names).to_pandas()
    model = LogisticRegression().fit(frame, frame["x.y"] > 0)
    joblib.dump(model, workdir / "m.joblib")
    table = numbers(50).rename_columns([*names, "x"])
    write(workdir / "in.parquet", table)
    assert score("--keep", "x.y", model="m.joblib").code == 0
    scored = pq.read_table("out")
    assert scored.column_names == ["x.y", "prediction", "model_version"]
    expected = model.predict(table.select(names).to_pandas())
    assert scored["prediction"].to_pylist() == expected.tolist()


@pytest.mark.parametrize(
    ("name", "flags"), [("prediction", []), ("model_version", []), ("row_id", ["--row-id"])]
)
def test_a_column_that_is_to_be_written_already(
    score: Score, workdir: Path, name: str, flags: list[str]
) -> None:
    write(workdir / "in.parquet", numbers(5).append_column(name, pa.array(range(5))))
    refused(score(*flags), f"already has the columns ['{name}']", "leave them out with --keep")
    assert score(*flags, "--keep", "id").code == 0
    assert name in pq.read_table("out").column_names


def test_names_that_are_ours(score: Score, workdir: Path) -> None:
    write(workdir / "in.parquet", numbers(5).rename_columns([*NUMBERS, "_scoreline_position"]))
    refused(score(), "['_scoreline_position']", "rename them")


def test_keep_of_a_column_that_is_not_there(score: Score, workdir: Path) -> None:
    write(workdir / "in.parquet", numbers(5))
    refused(score("--keep", "idd"), "--keep idd", "['a', 'b', 'c', 'id']", "did you mean id?")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--ouput", "x"], ["unknown flag --ouput. Did you mean --output?"]),
        (["--outputs", "predict_prob"], ["got predict_prob; did you mean predict_proba?"]),
        (["--outputs", ""], ["expected names with commas between, got ''"]),
        (["--max-dead-letter-ratio", "5%"], ["expected a number from 0 to 1, got '5%'"]),
        (["--max-dead-letter-ratio", "1.5"], ["expected a number from 0 to 1, got '1.5'"]),
        (["--sha256", "abc"], ["model.trust.sha256: expected 64 hexadecimal digits, got 'abc'"]),
        (["--features", "a,b"], ["trained on the columns ['a', 'b', 'c']", "['a', 'b']"]),
        (["--outputs", "transform"], ["has no transform", "it offers --outputs predict,"]),
    ],
)
def test_flags_that_cannot_be(
    score: Score, workdir: Path, flags: list[str], words: list[str]
) -> None:
    write(workdir / "in.parquet", numbers(5))
    refused(score(*flags), *words)


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("file/out", ["file is a file, not a folder"]),
        ("file", ["file is a file, not a folder", "one file whose name ends in .parquet"]),
        ("file/out.parquet", ["file is a file, not a folder"]),
        ("folder.parquet", ["names one file, but there is a folder of that name"]),
    ],
)
def test_outputs_that_cannot_be(score: Score, workdir: Path, output: str, words: list[str]) -> None:
    write(workdir / "in.parquet", numbers(5))
    (workdir / "file").write_text("mine")
    (workdir / "folder.parquet").mkdir()
    refused(score("--overwrite", output=output), f"--output {output}", *words)
    assert (workdir / "file").read_text() == "mine"


def test_dead_letters_that_cannot_be(score: Score, workdir: Path) -> None:
    write(workdir / "in.parquet", numbers(5))
    (workdir / "d.parquet").mkdir()
    refused(score("--dead-letters", "d.parquet"), "--dead-letters d.parquet names one file")


def test_an_output_that_may_not_be_written(
    score: Score, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, *args: Any, **kwargs: Any) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))

    write(workdir / "in.parquet", numbers(5))
    monkeypatch.setattr(Path, "mkdir", refuse)
    refused(score(), "Permission denied: 'out/_run'", "Check who may", code=1)


def test_an_input_that_may_not_be_read(
    score: Score, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str) -> list[str]:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    monkeypatch.setattr("scoreline.pipelines.inputs.match_files", refuse)
    refused(score(), "Permission denied: 'in.parquet'", "Nothing was started", code=1)


class FullDisk:
    """A file on a disk that has room for so many bytes."""

    def __init__(self, file: Any, room: int):
        self._file = file
        self._room = room

    def write(self, data: Any) -> int:
        self._room -= len(memoryview(data))
        if self._room < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return int(self._file.write(data))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> "FullDisk":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


@pytest.mark.parametrize("room", [0, 100_000])
@pytest.mark.parametrize("kind", ["predicted", "dead_lettered"])
def test_a_full_disk(
    score: Score, workdir: Path, monkeypatch: pytest.MonkeyPatch, room: int, kind: str
) -> None:
    from scoreline.transforms import part_writer

    create = part_writer.create

    def create_on_full_disk(path: str) -> Any:
        return FullDisk(create(path), room) if kind in path else create(path)

    table = numbers(20_000) if kind == "predicted" else alike([None] * 20_000)
    write(workdir / "in.parquet", table, row_group_size=1000)
    monkeypatch.setattr(part_writer, "create", create_on_full_disk)

    ended = score()

    step = "WritePredictions" if kind == "predicted" else "WriteConformDeadLetters"
    refused(ended, f"failed in {step}", "No space left on device", "The disk is full", code=1)


def test_a_file_that_may_not_grow(workdir: Path, classifier_file: Path) -> None:
    """A limit of the system's own, in a process of its own."""
    write(workdir / "in.parquet", numbers(100_000), row_group_size=20_000)

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

    words = ["score", "--model", classifier_file, "--allow-pickle", "--input", "in.parquet"]
    ended = subprocess.run(
        [sys.executable, "-m", "scoreline", *words, "--output", "out"],
        preexec_fn=limit,
        capture_output=True,
        text=True,
    )
    refused(
        Ended(ended.returncode, ended.stdout, ended.stderr),
        "failed in WritePredictions: OSError: [Errno 27] File too large",
        "ulimit -f",
        "Nothing was made final",
        code=1,
    )


@pytest.mark.parametrize("step", ["move", "write_json", "remove"])
def test_a_commit_that_fails_is_completed_by_the_same_command(
    score: Score, workdir: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    from scoreline.transforms import commit

    write(workdir / "in.parquet", numbers(10))
    write(workdir / "old.parquet", numbers(5))
    old = ["--keep", "a,b"]
    assert score(*old, input="old.parquet").code == 0
    write(workdir / "out/part-00007.parquet", numbers(1))  # a part of the old run's

    def fail(*args: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def fail_at_the_report(path: str, value: Any) -> None:
        fail() if path.endswith("report.json") else write_json(path, value)

    write_json = commit.write_json
    with monkeypatch.context() as patch:
        patch.setattr(commit, step, fail_at_the_report if step == "write_json" else fail)
        ended = score("--overwrite")
    assert ended.code == 1
    assert "failed in Commit" in ended.err
    assert "give the same command again, and it completes the run" in ended.err

    again = score()

    assert again.code == 0, again.err
    assert "completed run" in again.err
    assert pq.read_table("out").equals(pq.read_table("out/part-00000.parquet"))
    assert pq.read_table("out").num_rows == 10
    assert not list(Path("out/_run").glob("*/heartbeat*"))
    assert not list(Path("out/_run").glob("*/staged"))
