"""Every format in and out: the same rows, the same predictions, and broken records set aside."""

import json
from collections.abc import Callable
from pathlib import Path

import joblib
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from running import NUMBERS, Ended, files_below, numbers, write
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from written import avro_bytes, csv_text, json_text, read_back, write_as

Score = Callable[..., Ended]
Scoreline = Callable[..., Ended]

BOM = b"\xef\xbb\xbf"


@pytest.fixture
def rows() -> pa.Table:
    """Numbers and words that need quotes in CSV and escapes in JSON."""
    words = ["plain", 'q"uote', "a, b", "ümläut", "", "tab\there", " space "] * 10
    return numbers(70).append_column("word", pa.array(words))


def predictions(model: LogisticRegression, table: pa.Table) -> list[str]:
    expected: list[str] = model.predict(table.select(NUMBERS).to_pandas()).tolist()
    return expected


INPUTS = [
    *("in.parquet", "in.csv", "in.jsonl", "in.avro"),
    *("in.csv.gz", "in.csv.zst", "in.csv.bz2", "in.jsonl.gz", "in.jsonl.zst", "in.jsonl.bz2"),
]


@pytest.mark.parametrize("name", INPUTS)
def test_the_same_rows_give_the_same_predictions(
    score: Score, workdir: Path, rows: pa.Table, classifier: LogisticRegression, name: str
) -> None:
    write_as(workdir / name, rows)
    ended = score("--keep", "id,word", input=name)
    assert ended.code == 0, ended.err
    scored = pq.read_table("out")
    assert scored["prediction"].to_pylist() == predictions(classifier, rows)
    assert scored["id"].equals(rows["id"])
    assert scored["word"].to_pylist() == rows["word"].to_pylist()


@pytest.mark.parametrize("name", ["in.parquet", "in.csv", "in.jsonl.gz", "in.avro"])
def test_a_job_file_gives_the_same_as_the_flags(
    score: Score,
    scoreline: Scoreline,
    workdir: Path,
    rows: pa.Table,
    classifier_file: Path,
    name: str,
) -> None:
    write_as(workdir / name, rows)
    job = {
        "name": "same",
        "source": {"path": name},
        "model": {"uri": str(classifier_file), "trust": {"allow_pickle": True}},
        "sinks": [{"path": "by_run"}],
    }
    Path("job.yaml").write_text(yaml.safe_dump(job))
    assert score(input=name).code == 0
    assert scoreline("run", "job.yaml").code == 0
    assert pq.read_table("by_run").equals(pq.read_table("out"))


CODES = {
    "zip": ["02139", "10001", "94105", "02139", "10001", "94105"],
    "plan": ["1", "2", "2", "1", "1", "2"],
    "member": ["true", "true", "false", "false", "true", "false"],
    "floor": [1, 2, 3, 1, 2, 3],
}


@pytest.fixture
def of_codes(workdir: Path) -> Path:
    """A model of categories that look like numbers, and of numbers that are categories."""
    ignoring = OneHotEncoder(handle_unknown="ignore")
    words = make_pipeline(SimpleImputer(strategy="most_frequent"), ignoring)
    columns = make_column_transformer((words, ["zip", "plan", "member"]), (ignoring, ["floor"]))
    frame = pa.table(CODES).to_pandas()
    model = make_pipeline(columns, LinearRegression()).fit(frame, [1, 2, 4, 8, 16, 32])
    path = workdir / "codes.joblib"
    joblib.dump(model, path)
    return path


@pytest.mark.parametrize("name", ["in.parquet", "in.csv", "in.jsonl", "in.avro"])
def test_codes_that_look_like_numbers(
    score: Score, workdir: Path, of_codes: Path, name: str
) -> None:
    table = pa.table(CODES)
    write_as(workdir / name, table)
    ended = score("--overwrite", model=of_codes, input=name)
    assert ended.code == 0, ended.err
    scored = pq.read_table("out")
    expected = joblib.load(of_codes).predict(table.to_pandas())
    assert scored["prediction"].to_pylist() == pytest.approx(expected.tolist(), rel=1e-12)
    assert scored.select(table.schema.names).to_pydict() == CODES


def test_one_broken_code_costs_its_row_only(score: Score, workdir: Path, of_codes: Path) -> None:
    lines = csv_text(pa.table(CODES)).decode().splitlines()
    lines[3] = lines[3].rsplit(",", 1)[0] + ",?"
    (workdir / "in.csv").write_text("\n".join(lines))
    ended = score("--max-dead-letter-ratio", "0.2", model=of_codes, input="in.csv")
    assert ended.code == 0, ended.err
    expected = joblib.load(of_codes).predict(pa.table(CODES).to_pandas()).tolist()
    del expected[2]
    assert pq.read_table("out")["prediction"].to_pylist() == pytest.approx(expected, rel=1e-12)
    (letter,) = pq.read_table("out/_dead_letters").to_pylist()
    assert (letter["error_code"], letter["payload"]) == ("wrong_type", lines[3].encode())


def test_codes_that_are_numbers_in_json(score: Score, workdir: Path, of_codes: Path) -> None:
    write_as(workdir / "in.jsonl", pa.table(CODES | {"plan": [1, 2, 2, 1, 1, 2]}))
    ended = score(model=of_codes, input="in.jsonl")
    assert ended.code == 2
    assert "was trained on text in column 'plan', but the input has int64 there" in ended.err
    assert files_below(workdir / "out") == []


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("in.csv", lambda data: data.replace(b"\n", b"\r\n")),
        ("in.csv", lambda data: BOM + data),
        ("in.csv", lambda data: data.rstrip(b"\n")),
        ("in.jsonl", lambda data: data.replace(b"\n", b"\r\n")),
        ("in.jsonl", lambda data: BOM + data),
        ("in.jsonl", lambda data: data.rstrip(b"\n")),
        ("in.jsonl", lambda data: data.replace(b"\n", b"\n\n  \n")),
    ],
    ids=["csv-crlf", "csv-bom", "csv-cut", "json-crlf", "json-bom", "json-cut", "json-blank"],
)
def test_text_as_it_comes_from_other_systems(
    score: Score,
    workdir: Path,
    rows: pa.Table,
    classifier: LogisticRegression,
    name: str,
    change: Callable[[bytes], bytes],
) -> None:
    encode = csv_text if name == "in.csv" else json_text
    Path(name).write_bytes(change(encode(rows)))
    ended = score(input=name)
    assert ended.code == 0, ended.err
    scored = pq.read_table("out")
    assert scored.column_names == [*rows.column_names, "prediction", "model_version"]
    assert scored["prediction"].to_pylist() == predictions(classifier, rows)
    assert not Path("out/_dead_letters").exists()


@pytest.mark.parametrize("codec", ["deflate", "bzip2"])
def test_compressed_avro(
    score: Score, workdir: Path, rows: pa.Table, classifier: LogisticRegression, codec: str
) -> None:
    Path("in.avro").write_bytes(avro_bytes(rows, codec))
    assert score(input="in.avro").code == 0
    assert pq.read_table("out")["prediction"].to_pylist() == predictions(classifier, rows)


def test_text_is_read_in_pieces_and_stays_in_order(
    score: Score,
    workdir: Path,
    rows: pa.Table,
    classifier: LogisticRegression,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("scoreline.transforms.text_files._RANGE_BYTES", 500)
    monkeypatch.setattr("scoreline.transforms.splits._MAX_SPLIT_BYTES", 500)
    for name in ("in.csv", "in.jsonl"):
        write_as(workdir / name, rows)
        assert score("--row-id", "--overwrite", input=name).code == 0
        assert len(list(Path("out").glob("part-*"))) > 5
        scored = pq.read_table("out")
        assert scored["id"].equals(rows["id"])
        assert len(set(scored["row_id"].to_pylist())) == 70
        assert scored["prediction"].to_pylist() == predictions(classifier, rows)


BROKEN = {
    "in.csv": [
        (b"1,2,3,4,5,6", "wrong_field_count"),
        (b"1,2", "wrong_field_count"),
        (b"1,2,many,4,x", "wrong_type"),
        (b"1,2,3,4,\xff\xfe", "invalid_utf8"),
        (b'1,2,3,4,"open', "malformed_csv"),
    ],
    "in.jsonl": [
        (b'{"a":1,"b":2,"c"', "malformed_json"),
        (b'{"a":1,"b":2,"c":"many","id":3,"word":"x"}', "wrong_type"),
        (b'["a", 1]', "wrong_type"),
        (b'{"a":1,"b":2,"c":3,"id":4,"word":"\xff"}', "invalid_utf8"),
        (b"not json at all", "malformed_json"),
    ],
}


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_record_costs_that_record_only_and_keeps_its_bytes(
    score: Score,
    workdir: Path,
    rows: pa.Table,
    classifier: LogisticRegression,
    name: str,
    suffix: str,
) -> None:
    lines = (csv_text(rows) if name == "in.csv" else json_text(rows)).splitlines(keepends=True)
    for number, (record, _) in enumerate(BROKEN[name]):
        lines.insert(10 * (number + 1), record + b"\n")
    data = b"".join(lines)
    import gzip

    Path(name + suffix).write_bytes(gzip.compress(data) if suffix else data)

    ended = score(input=name + suffix)

    assert ended.code == 3  # 5 of 75 are more than 5 %
    assert pq.read_table("out")["prediction"].to_pylist() == predictions(classifier, rows)
    dead = pq.read_table("out/_dead_letters").to_pylist()
    assert [row["payload"] for row in dead] == [record for record, _ in BROKEN[name]]
    assert [row["error_code"] for row in dead] == [code for _, code in BROKEN[name]]
    assert {row["stage"] for row in dead} == {"decode"}
    assert {row["payload_encoding"] for row in dead} == {"raw"}
    assert {row["source"] for row in dead} == {name + suffix}
    header = len(lines[0]) if name == "in.csv" else 0
    ordinals = [10 * (number + 1) - (header > 0) for number in range(5)]
    assert [row["row_id"] for row in dead] == [f"{name}{suffix}#{header}+{n}" for n in ordinals]
    (report,) = Path("out/_run").glob("*/report.json")
    counted = json.loads(report.read_text())
    assert counted["rows"]["read"] == 75
    assert counted["rows"]["predicted"] == 70
    assert counted["rows"]["dead_lettered"] == 5
    assert counted["unaccounted"] == []
    assert sum(counted["dead_letters"].values()) == 5

    again = score("--overwrite", "--max-dead-letter-ratio", "0.1", input=name + suffix)
    assert again.code == 0


def test_a_damaged_avro_file_fails_the_run(score: Score, workdir: Path, rows: pa.Table) -> None:
    data = avro_bytes(rows)
    Path("in.avro").write_bytes(data[:-40])
    ended = score(input="in.avro")
    assert ended.code == 1
    assert "cannot read in.avro" in ended.err
    assert "Nothing was made final" in ended.err
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("format_", "extension"),
    [("parquet", ".parquet"), ("json", ".jsonl"), ("csv", ".csv"), ("avro", ".avro")],
)
def test_a_folder_of_each_format(
    score: Score,
    workdir: Path,
    rows: pa.Table,
    classifier: LogisticRegression,
    format_: str,
    extension: str,
) -> None:
    write(workdir / "in.parquet", rows)
    ended = score("--output-format", format_, "--keep", "a,id,word", "--row-id")
    assert ended.code == 0, ended.err
    assert "out/part-00000" + extension in {str(path) for path in Path("out").glob("part-*")}
    back = read_back(Path("out"))
    assert [row["prediction"] for row in back] == predictions(classifier, rows)
    assert [row["a"] for row in back] == rows["a"].to_pylist()
    assert [row["id"] for row in back] == rows["id"].to_pylist()
    assert [row["word"] or "" for row in back] == rows["word"].to_pylist()
    assert [row["row_id"] for row in back] == [f"in.parquet#{row}" for row in range(70)]
    # What one run writes, the next one reads.
    second = score("--keep", "id", input="out", output="second", model=_constant(workdir))
    assert second.code == 0, second.err
    assert pq.read_table("second")["id"].equals(rows["id"])


def _constant(workdir: Path) -> Path:
    """A model that takes the column `a` alone."""
    import joblib
    from sklearn.dummy import DummyRegressor

    path = workdir / "constant.joblib"
    joblib.dump(DummyRegressor().fit(numbers(5).select(["a"]).to_pandas(), range(5)), path)
    return path


@pytest.mark.parametrize(
    "name", ["out.csv", "out.jsonl", "out.avro", "out.jsonl.gz", "out.csv.zst", "out.jsonl.bz2"]
)
def test_one_file_of_each_format(
    score: Score, workdir: Path, rows: pa.Table, classifier: LogisticRegression, name: str
) -> None:
    write(workdir / "in.parquet", rows, row_group_size=20)
    ended = score("--keep", "a,id,word", output=f"o/{name}")
    assert ended.code == 0, ended.err
    back = read_back(workdir / "o" / name)
    assert [row["prediction"] for row in back] == predictions(classifier, rows)
    assert [row["a"] for row in back] == rows["a"].to_pylist()
    assert files_below(workdir / "o") == [
        *(name, f"{name}.run/RUN/_SUCCESS", f"{name}.run/RUN/commit.json"),
        *(f"{name}.run/RUN/job.yaml", f"{name}.run/RUN/report.json"),
    ]


@pytest.mark.parametrize("name", ["out.csv", "out.jsonl", "out.avro", "out.csv.gz"])
def test_one_file_without_a_row(score: Score, workdir: Path, name: str) -> None:
    write(workdir / "in.parquet", numbers(0))
    ended = score("--keep", "id", output=name)
    assert ended.code == 0, ended.err
    assert read_back(workdir / name) == []
    if ".csv" in name:
        again = score(input=name, output="second", model=_constant(workdir))
        assert again.code == 2
        assert "it has ['id', 'prediction', 'model_version']" in again.err


def test_nested_json_stays_nested(score: Score, workdir: Path) -> None:
    rows = [
        {"a": 1.5, "b": 2.0, "c": 3.0, "who": {"name": "x", "tags": ["p", "q"]}},
        {"a": 1, "b": 2, "c": 3, "who": {"name": None, "tags": []}},
    ]
    Path("in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert score("--output-format", "json", input="in.jsonl").code == 0
    (part,) = Path("out").glob("part-*.jsonl")
    back = [json.loads(line) for line in part.read_text().splitlines()]
    assert [row["who"] for row in back] == [row["who"] for row in rows]


@pytest.mark.parametrize("format_", ["csv", "avro"])
def test_a_column_that_the_output_format_cannot_hold(
    score: Score, workdir: Path, format_: str
) -> None:
    lists = pa.array([[1, 2], [3]] * 5)
    write(workdir / "in.parquet", numbers(10).append_column("deep", lists))
    ended = score("--output-format", format_)
    if format_ == "avro":
        assert ended.code == 0, ended.err
        assert read_back(Path("out"))[0]["deep"] == [1, 2]
    else:
        assert ended.code == 0, ended.err
        assert read_back(Path("out"))[0]["deep"] == "[1,2]"


@pytest.mark.parametrize(
    ("column", "values", "complaint"),
    [
        (
            "big",
            pa.array([2**64 - 1] * 3, pa.uint64()),
            "column 'big': Avro has no type for uint64. Cast it",
        ),
        ("full name", pa.array(["a"] * 3), "Avro does not allow the column name 'full name': a "),
    ],
)
def test_an_output_that_cannot_hold_a_column_is_refused_before_the_start(
    score: Score, workdir: Path, column: str, values: pa.Array, complaint: str
) -> None:
    write(workdir / "in.parquet", numbers(3).append_column(column, values))
    for flags in (("--output-format", "avro"), ("--output-format", "avro", "--dry-run")):
        ended = score(*flags)
        assert ended.code == 2
        assert ended.err.startswith(f"scoreline: the output out cannot be written: {complaint}")
        assert files_below(workdir / "out") == []
    assert score("--output-format", "avro", "--keep", "id").code == 0


def test_an_output_file_and_another_format(score: Score, workdir: Path) -> None:
    write(workdir / "in.parquet", numbers(5))
    ended = score("--output-format", "json", output="out.csv")
    assert ended.code == 2
    assert (
        "the output out.csv is one file of the format csv, but the format json was asked for: "
        "leave one of the two out." in ended.err
    )


def test_a_file_that_is_named_twice_is_read_once(score: Score, workdir: Path) -> None:
    for name in ("data/a.parquet", "data/b.parquet"):
        write(workdir / name, numbers(3))
    files = ("--input", "./data", "--input", str(workdir / "data" / "a.parquet"))
    assert score("--row-id", *files, input="data/b.parquet").code == 0
    read = pq.read_table("out")["row_id"].to_pylist()
    assert read == [
        f"{path}#{row}" for path in ("data/b.parquet", "./data/a.parquet") for row in range(3)
    ]


def test_files_of_several_formats(score: Score, workdir: Path) -> None:
    write_as(workdir / "d/1.csv", numbers(5))
    write_as(workdir / "d/2.jsonl", numbers(5))
    ended = score(input="d")
    assert ended.code == 2
    assert (
        "the input has files of several formats: d/1.csv is csv, d/2.jsonl is json. Score them in "
        "separate runs, or say with --input-format what they are." in ended.err
    )


def test_a_name_that_says_no_format(
    score: Score, workdir: Path, classifier: LogisticRegression
) -> None:
    Path("data.txt").write_bytes(csv_text(numbers(20)))
    ended = score(input="data.txt")
    assert ended.code == 2
    assert (
        "the extension of data.txt names no format: give --input-format parquet, json, csv or avro."
        in ended.err
    )
    assert score("--input-format", "csv", input="data.txt").code == 0
    assert pq.read_table("out")["prediction"].to_pylist() == predictions(classifier, numbers(20))


def test_dialects_of_csv(
    score: Score, workdir: Path, rows: pa.Table, classifier: LogisticRegression
) -> None:
    frame = rows.to_pandas()
    frame.loc[3, "word"] = "two\nlines"
    frame.to_csv("in.csv", sep=";", quotechar="'", header=False, index=False)
    ended = score(
        *("--csv-delimiter", ";", "--csv-quote", "'", "--csv-header", "a,b,c,id,word"),
        *("--csv-newlines-in-values", "--csv-null-values", "-"),
        input="in.csv",
    )
    assert ended.code == 0, ended.err
    scored = pq.read_table("out")
    assert scored["prediction"].to_pylist() == predictions(classifier, rows)
    assert scored["word"].to_pylist() == frame["word"].tolist()


def test_tabs_by_a_flag_and_by_the_name(
    score: Score, workdir: Path, classifier: LogisticRegression
) -> None:
    numbers(20).to_pandas().to_csv("in.tsv", sep="\t", index=False)
    assert score("--csv-delimiter", r"\t", input="in.tsv").code == 0
    assert score("--overwrite", input="in.tsv").code == 0
    assert pq.read_table("out")["prediction"].to_pylist() == predictions(classifier, numbers(20))
