"""The error pages of a person's day, word by word: what is wrong, and what to type instead."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import joblib
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.io.filesystem import FileSystem
from running import NUMBERS, Ended, numbers, write
from sklearn.linear_model import LinearRegression, LogisticRegression
from written import csv_text, json_text, write_as

Score = Callable[..., Ended]
Scoreline = Callable[..., Ended]


def said(ended: Ended, *lines: str, code: int = 2) -> None:
    """A command that ended with just these lines on stderr, and made nothing."""
    assert ended.err.splitlines() == list(lines)
    assert ended.code == code
    assert ended.out == ""
    assert not Path("out").exists()


@pytest.fixture
def people(workdir: Path) -> Path:
    """A model of age and income."""
    frame = pa.table({"age": [20.0, 40.0, 60.0], "income": [1.0, 2.0, 4.0]}).to_pandas()
    path = workdir / "people.joblib"
    joblib.dump(LinearRegression().fit(frame, [1, 2, 3]), path)
    return path


@pytest.mark.parametrize("name", ["in.parquet", "in.csv", "in.jsonl", "in.avro"])
def test_a_column_in_capitals(score: Score, workdir: Path, people: Path, name: str) -> None:
    table = pa.table({"Age": [30.0, 50.0], "Income": [1.5, 3.5], "plan": ["x", "y"]})
    write_as(workdir / name, table)
    said(
        score(input=name, model=people),
        "scoreline: model 'people' needs columns ['age', 'income'] that the input lacks; it has "
        "['Age', 'Income', 'plan']. 'Age' looks like 'age'; 'Income' looks like 'income': give "
        "--rename Age=age,Income=income (source.rename), or rename them in the input.",
    )
    fixed = score("--rename", "Age=age,Income=income", input=name, model=people)
    assert fixed.code == 0
    assert pq.read_table("out").num_rows == 2


def test_only_what_is_missing_is_renamed(score: Score, workdir: Path, people: Path) -> None:
    write(workdir / "in.parquet", pa.table({"age_": [30.0], "income": [1.5]}))
    said(
        score(model=people),
        "scoreline: model 'people' needs columns ['age'] that the input lacks; it has "
        "['age_', 'income']. 'age_' looks like 'age': give --rename age_=age (source.rename), or "
        "rename them in the input.",
    )


def test_a_name_that_no_flag_can_say(
    score: Score, scoreline: Scoreline, workdir: Path, people: Path
) -> None:
    (workdir / "in.csv").write_text("Age group, income\n30,1.5\n")
    said(
        score(model=people, input="in.csv"),
        "scoreline: model 'people' needs columns ['age', 'income'] that the input lacks; it has "
        "['Age group', ' income']. ' income' looks like 'income': write rename: "
        '{" income": "income"} below source in a job file, which --print-job drafts, or rename '
        "them in the input.",
    )
    (workdir / "in.csv").write_text("age x,income\n30,1.5\n")
    ended = score(model=people, input="in.csv")
    assert "give --rename 'age x=age' (source.rename), or rename them" in ended.err
    assert score("--rename", "age x=age", model=people, input="in.csv").code == 0


def test_a_column_that_is_like_none(score: Score, workdir: Path, people: Path) -> None:
    write(workdir / "in.parquet", pa.table({"x": [30.0], "income": [1.5]}))
    said(
        score(model=people),
        "scoreline: model 'people' needs columns ['age'] that the input lacks; it has "
        "['x', 'income']. If they have other names in the input, give --rename OLD=NEW,... "
        "(source.rename); if they have to be computed first, --preprocess (model.preprocess).",
    )


def test_a_column_that_was_left_out(score: Score, workdir: Path, people: Path) -> None:
    write(workdir / "in.parquet", pa.table({"age": [30.0], "income": [1.5]}))
    said(
        score("--columns", "income", model=people),
        "scoreline: model 'people' needs columns ['age'] that the input lacks; it has ['income']. "
        "The input has ['age']: add them to --columns (source.columns).",
    )


def test_semicolons(score: Score, workdir: Path) -> None:
    Path("in.csv").write_bytes(csv_text(numbers(5)).replace(b",", b";"))
    ended = score(input="in.csv")
    said(
        ended,
        """scoreline: cannot read in.csv as csv: the first line is one column, 'a;"b";"c";"id"'. """
        "It looks as if the delimiter were ';': give it with --csv-delimiter "
        "(source.csv.delimiter).",
    )
    assert score("--csv-delimiter", ";", input="in.csv").code == 0


def test_a_wrong_delimiter(score: Score, workdir: Path) -> None:
    numbers(5).to_pandas().to_csv("in.csv", index=False)
    said(
        score("--csv-delimiter", "|", input="in.csv"),
        "scoreline: cannot read in.csv as csv: the first line is one column, 'a,b,c,id'. It looks "
        "as if the delimiter were ',': give it with --csv-delimiter (source.csv.delimiter).",
    )
    said(
        score("--csv-delimiter", "||", input="in.csv"),
        "scoreline: source.csv.delimiter: expected at most 1 character, got '||'",
    )


def test_a_model_trained_on_a_matrix(
    score: Score, workdir: Path, classifier: LogisticRegression
) -> None:
    frame = numbers(100).select(NUMBERS).to_pandas()
    joblib.dump(LogisticRegression().fit(frame.to_numpy(), frame.a > 0), "m.joblib")
    write_as(workdir / "in.csv", numbers(5))
    said(
        score(input="in.csv", model="m.joblib"),
        "scoreline: model 'm' was trained on a matrix without names: it takes 3 columns and "
        "cannot know which. Name them in the order of training with --features a,b,c "
        "(model.features). The input has the columns ['a', 'b', 'c', 'id'].",
    )
    assert score("--features", "a,b,c", input="in.csv", model="m.joblib").code == 0


@pytest.mark.parametrize("name", ["in.csv", "in.jsonl"])
def test_dates_as_text(score: Score, workdir: Path, name: str) -> None:
    table = numbers(5).set_column(0, "a", pa.array([None, *["2024-02-29"] * 4]))
    write_as(workdir / name, table)
    said(
        score(input=name),
        f"scoreline: the model takes a number in column 'a', but {name} has text there, such as "
        "'2024-02-29'. Turn it into numbers in the input, or with --preprocess "
        "(model.preprocess).",
    )


def test_dates_as_dates(score: Score, workdir: Path) -> None:
    dates = pa.array([19_000] * 5, pa.int32()).cast(pa.date32())
    write(workdir / "in.parquet", numbers(5).set_column(0, "a", dates))
    said(
        score(),
        "scoreline: model 'churn' takes a number in column 'a', but the input has date32[day] "
        "there. Convert the column in the input, or with --preprocess.",
    )


@pytest.mark.parametrize("word", ["unknown", "2024-02-29"])
def test_one_word_among_numbers_is_one_dead_letter(score: Score, workdir: Path, word: str) -> None:
    rows = [f"{row},1,2\n" for row in range(100)]
    rows[50] = f"{word},1,2\n"
    Path("in.csv").write_text("a,b,c\n" + "".join(rows))
    assert score(input="in.csv").code == 0
    assert pq.read_table("out").num_rows == 99
    assert pq.read_table("out/_dead_letters").num_rows == 1


def test_csv_without_a_header(score: Score, workdir: Path) -> None:
    Path("in.csv").write_text("1.5,2,3,x\n4,5,6,y\n")
    said(
        score(input="in.csv"),
        "scoreline: model 'churn' needs columns ['a', 'b', 'c'] that the input lacks; it has "
        "['1.5', '2', '3', 'x']. That looks like a row, not like names: if the files have no "
        "header line, name their columns with --csv-header A,B,... (source.csv.header: false and "
        "source.csv.names).",
    )
    assert score("--csv-header", "a,b,c,word", input="in.csv").code == 0
    assert pq.read_table("out")["a"].to_pylist() == [1.5, 4.0]


WRONG_FORMATS = [
    (
        "in.csv",
        ["--input-format", "parquet"],
        "It looks like csv, as its name says: leave out --input-format parquet.",
    ),
    (
        "in.parquet",
        ["--input-format", "csv"],
        "It looks like parquet, as its name says: leave out --input-format csv.",
    ),
    (
        "in.parquet",
        ["--input-format", "json"],
        "It looks like parquet, as its name says: leave out --input-format json.",
    ),
    (
        "in.csv",
        ["--input-format", "avro"],
        "It looks like csv, as its name says: leave out --input-format avro.",
    ),
    (
        "in.csv",
        ["--input-format", "json"],
        "It looks like csv, as its name says: leave out --input-format json.",
    ),
    (
        "in.avro",
        ["--input-format", "parquet"],
        "It looks like avro, as its name says: leave out --input-format parquet.",
    ),
    (
        "in.jsonl",
        ["--input-format", "csv"],
        "That looks like JSON lines: give --input-format json (source.format).",
    ),
    ("csv.parquet", [], "It looks like csv: give --input-format csv (source.format)."),
    ("parquet.csv", [], "It looks like parquet: give --input-format parquet (source.format)."),
    ("avro.jsonl", [], "It looks like avro: give --input-format avro (source.format)."),
    (
        "array.jsonl",
        [],
        "It looks like one JSON array; JSON lines have one object on each line, as "
        "`jq -c '.[]' array.jsonl` writes them.",
    ),
    (
        "pretty.jsonl",
        [],
        "It looks like JSON over several lines; JSON lines have one object on each line, as "
        "`jq -c . pretty.jsonl` writes them.",
    ),
]


@pytest.mark.parametrize(("name", "flags", "fix"), WRONG_FORMATS)
def test_a_file_of_another_format(
    score: Score, workdir: Path, name: str, flags: list[str], fix: str
) -> None:
    kind, _, extension = name.partition(".")
    real = extension if kind in ("in", "array", "pretty") else kind
    path = write_as(workdir / f"x.{real}", numbers(5))
    if kind == "array":
        path.write_bytes(b"[" + b",".join(json_text(numbers(5)).splitlines()) + b"]")
    if kind == "pretty":
        path.write_text("\n".join(json.dumps(row, indent=2) for row in numbers(5).to_pylist()))
    path.rename(name)
    ended = score(*flags, input=name)
    assert ended.code == 2
    assert ended.err.endswith(f". {fix}\n")
    assert len(ended.err.splitlines()) == 1
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (
            "s3://bucket/in.parquet",
            "s3://bucket/in.parquet: s3:// needs boto3, which is not installed: "
            "pip install 'scoreline[aws]'",
        ),
        (
            "azfs://account/in.parquet",
            "azfs://account/in.parquet: azfs:// needs azure.storage.blob, which is not installed: "
            "pip install 'apache-beam[azure]'",
        ),
        (
            "ftp://server/in.parquet",
            "ftp://server/in.parquet: there is no file system ftp://. Expected a local path or one "
            "of azfs://, gs://, hdfs://, s3://",
        ),
    ],
)
@pytest.mark.parametrize("flag", ["--input", "--model", "--output", "--dead-letters", "--report"])
def test_a_file_system_that_is_not_there(
    score: Score,
    workdir: Path,
    monkeypatch: pytest.MonkeyPatch,
    flag: str,
    path: str,
    line: str,
) -> None:
    for module in ("boto3", "azure"):  # someone may have them
        monkeypatch.setitem(sys.modules, module, None)
    beams = [each for each in FileSystem.get_all_subclasses() if "apache_beam" in each.__module__]
    monkeypatch.setattr(FileSystem, "get_all_subclasses", lambda: beams)  # other tests add theirs
    write(workdir / "in.parquet", numbers(5))
    name = flag.lstrip("-")
    if name in ("input", "model", "output"):
        said(score(**{name: path}), f"scoreline: {line}")
    else:
        said(score(flag, path), f"scoreline: {line}")


def test_a_folder_as_a_file(score: Score, workdir: Path) -> None:
    """A folder is its files; one without any is named with what it holds."""
    write(workdir / "in.parquet/1.parquet", numbers(5))
    assert score().code == 0
    (workdir / "none.csv").mkdir()
    ended = score(input="none.csv", output="second")
    assert ended.code == 2
    assert ended.err == "scoreline: no file matches --input none.csv: none.csv holds nothing\n"


def test_scoreline_alone_shows_the_five_minute_path(scoreline: Scoreline) -> None:
    ended = scoreline()
    assert ended.code == 0
    assert ended.err == ""
    first, *lines = ended.out.splitlines()
    assert first.endswith(
        "score live or stored data with a trained model, every row accounted for."
    )
    assert lines[1].startswith("  scoreline score --model churn.joblib --allow-pickle --input ")
    shown = {line.split()[1] for line in lines if line.startswith("  scoreline ")}
    assert shown == {"score", "run", "check", "schema", "model", "template", "completion"}
    assert max(map(len, lines)) <= 100
    assert scoreline("--help") == scoreline("help") == ended


def test_the_command_of_the_five_minute_path_works(
    scoreline: Scoreline, workdir: Path, classifier: LogisticRegression
) -> None:
    import shlex

    line = next(line for line in scoreline().out.splitlines() if "--input" in line)
    joblib.dump(classifier, "churn.joblib")
    write(workdir / "customers/1.parquet", numbers(5))
    assert scoreline(*shlex.split(line)[1:]).code == 0
    assert pq.read_table("scores").num_rows == 5


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ["scor"],
            "unknown command 'scor'; did you mean score? Expected one of: score, run, check, "
            "schema, model, template, completion",
        ),
        (
            ["xyzzy"],
            "unknown command 'xyzzy'. Expected one of: score, run, check, schema, model, "
            "template, completion",
        ),
        (["--input", "x"], "unknown command '--input'"),
        (["score"], "the following arguments are required: --input, --output, --model"),
        (["score", "--modle", "x"], "unknown flag --modle. Did you mean --model?"),
        (["schema", "x"], "unexpected 'x'."),
        (["completion"], "the following arguments are required: shell"),
    ],
)
def test_words_that_are_no_command(
    scoreline: Scoreline, workdir: Path, words: list[str], line: str
) -> None:
    ended = scoreline(*words)
    assert ended.code == 2
    assert ended.err.startswith(f"scoreline: {line}")
    assert len(ended.err.splitlines()) == 1
    assert ended.out == ""


@pytest.mark.parametrize("verb", ["score", "run", "check", "schema", "model", "completion"])
def test_each_command_has_help(scoreline: Scoreline, verb: str) -> None:
    ended = scoreline(verb, "--help")
    assert ended.code == 0
    assert ended.out.startswith(f"usage: scoreline {verb}")
    assert ended.err == ""


def test_a_reader_that_has_gone_is_no_error(workdir: Path) -> None:
    """As in `scoreline schema | head -1`."""
    read, write_ = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "scoreline", "schema"]
    process = subprocess.run(command, stdout=write_, stderr=subprocess.PIPE, text=True)
    os.close(write_)
    assert process.stderr == ""
    assert process.returncode == 0
