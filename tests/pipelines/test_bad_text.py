"""Text that is broken, huge, deep, cut short, or that changes while it is read."""

import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from running import NUMBERS, Ended, numbers, write
from sklearn.linear_model import LogisticRegression
from written import COMPRESS, avro_bytes, csv_text, json_text, write_as

Score = Callable[..., Ended]
Json = dict[str, Any]

LENIENT = ("--max-dead-letter-ratio", "1")


def dead_letters() -> list[Json]:
    rows: list[Json] = pq.read_table("out/_dead_letters").to_pylist()
    return rows


def json_rows(*lines: str | bytes, others: int = 20) -> bytes:
    """JSON lines: first the given ones, then good rows."""
    encoded = [line.encode() if isinstance(line, str) else line for line in lines]
    return b"".join(line + b"\n" for line in encoded) + json_text(numbers(others))


def test_a_line_of_ten_megabytes(score: Score, workdir: Path) -> None:
    words = "x" * 10_000_000
    Path("in.jsonl").write_bytes(json_rows(f'{{"a":1,"b":2,"c":3,"id":-1,"w":"{words}"}}'))
    assert score("--keep", "id,w", input="in.jsonl").code == 0
    scored = pq.read_table("out")
    assert scored["id"].to_pylist() == [-1, *range(20)]
    assert len(scored["w"][0].as_py()) == 10_000_000
    Path("in.csv").write_text(f"a,b,c,w\n1,2,3,{words}\n4,5,6,y\n")
    assert score("--overwrite", input="in.csv").code == 0
    assert [len(word) for word in pq.read_table("out")["w"].to_pylist()] == [10_000_000, 1]


def test_a_line_without_an_end_is_one_dead_letter(
    score: Score, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a line may have at most does not fit into a quick test: so that limit is lowered."""
    from scoreline.transforms import byte_ranges

    read_blocks = byte_ranges.read_blocks

    def short(*args: Any, **kwargs: Any) -> Any:
        return read_blocks(*args, **kwargs, block_bytes=500, max_line_bytes=1000)

    monkeypatch.setattr("scoreline.transforms.text_files.read_blocks", short)
    monkeypatch.setattr("scoreline.transforms.text_files._PAYLOAD_BYTES", 100)
    rows = json_text(numbers(20)).splitlines(keepends=True)
    long = b'{"a":' + b"1" * 400_000 + b"}\n"
    Path("in.jsonl").write_bytes(b"".join([*rows[:10], long, *rows[10:]]))
    assert score(input="in.jsonl").code == 0
    assert pq.read_table("out")["id"].to_pylist() == list(range(20))
    (dead,) = dead_letters()
    assert dead["error_code"] == "too_long"
    assert dead["payload"] == long[:100]


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("in.jsonl", b'{"a":1,"b":2,"c":3,"id":5\x00}'),
        ("in.jsonl", b"\x00\x00\x00\x00"),
        ("in.csv", b"1,2,\x003,4"),
    ],
)
def test_nul_bytes(score: Score, workdir: Path, name: str, line: bytes) -> None:
    rows = (csv_text if name == "in.csv" else json_text)(numbers(20)).splitlines(keepends=True)
    Path(name).write_bytes(b"".join([*rows[:5], line + b"\n", *rows[5:]]))
    assert score(input=name).code == 0
    assert pq.read_table("out")["id"].to_pylist() == list(range(20))
    assert [row["payload"] for row in dead_letters()] == [line]


ODD_JSON = {
    "twice": (b'{"a":1,"b":2,"c":3,"id":7,"a":9}', "duplicate_key"),
    "nan": (b'{"a":NaN,"b":2,"c":3,"id":7}', "malformed_json"),
    "infinity": (b'{"a":-Infinity,"b":2,"c":3,"id":7}', "malformed_json"),
    "beyond_64_bits": (b'{"a":1,"b":2,"c":3,"id":18446744073709551616}', None),
    "beyond_double": (b'{"a":1e999,"b":2,"c":3,"id":7}', None),
    "deep": (b'{"a":1,"b":2,"c":3,"id":' + b"[" * 100_000 + b"]" * 100_000 + b"}", None),
    "half": (b'{"a":1,"b":2,"c":3,"id"', "malformed_json"),
    "two_on_a_line": (b'{"a":1,"b":2,"c":3,"id":7}{"a":1}', "malformed_json"),
    "scalar": (b"17", None),
    "surrogate": (b'{"a":1,"b":2,"c":3,"id":7,"w":"\\ud800"}', None),
    "leading_zero": (b'{"a":01,"b":2,"c":3,"id":7}', "malformed_json"),
}


@pytest.mark.parametrize("case", ODD_JSON)
def test_json_that_is_not_what_it_seems(score: Score, workdir: Path, case: str) -> None:
    """Such a record is one dead letter with its bytes; it is never read as something else."""
    line, code = ODD_JSON[case]
    rows = json_text(numbers(20).append_column("w", pa.array(["x"] * 20))).splitlines(keepends=True)
    Path("in.jsonl").write_bytes(b"".join([*rows[:5], line + b"\n", *rows[5:]]))
    ended = score(input="in.jsonl")
    assert ended.code == 0, ended.err
    assert pq.read_table("out")["id"].to_pylist() == list(range(20))
    (dead,) = dead_letters()
    assert dead["payload"] == line
    assert dead["stage"] == "decode"
    assert code in (None, dead["error_code"])


def test_integers_up_to_64_bits_are_kept(score: Score, workdir: Path) -> None:
    ids = [2**63 - 1, -(2**63), 2**53 + 1]
    lines = [json.dumps({"a": 1, "b": 2, "c": 3, "id": value}) for value in ids]
    Path("in.jsonl").write_text("\n".join(lines))
    assert score("--keep", "id", input="in.jsonl").code == 0
    assert pq.read_table("out")["id"].to_pylist() == ids


@pytest.mark.parametrize("name", ["in.csv.gz", "in.jsonl.gz", "in.jsonl.zst", "in.csv.bz2"])
@pytest.mark.parametrize("rows", [50, 100_000])
def test_a_compressed_file_that_is_cut_short(
    score: Score, workdir: Path, name: str, rows: int
) -> None:
    """A small one is seen before the run starts, a large one when its end is read."""
    path = write_as(workdir / name, numbers(rows))
    path.write_bytes(path.read_bytes()[:-20])
    ended = score(input=name)
    assert ended.code == (2 if rows == 50 else 1), ended.err
    assert f"cannot read {name}" in ended.err
    assert "cut short" in ended.err or "no sound" in ended.err
    if rows > 50:
        assert "from byte" in ended.err
        assert "Nothing was made final" in ended.err
    assert not Path("out").exists()


class Changing:
    """Lets something happen to the input after it was planned and before it is read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, change: Callable[[], None]):
        from scoreline.pipelines import launch

        build = launch.build

        def build_later(*args: Any, **named: Any) -> Any:
            change()
            return build(*args, **named)

        monkeypatch.setattr(launch, "build", build_later)


@pytest.mark.parametrize("name", ["in.csv", "in.jsonl"])
def test_a_file_that_grows_is_read_up_to_where_it_ended(
    score: Score, workdir: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path = write_as(workdir / name, numbers(50))
    more = csv_text(numbers(50)).split(b"\n", 1)[1] if name == "in.csv" else json_text(numbers(50))

    def grow() -> None:
        with path.open("ab") as file:
            file.write(more)

    Changing(monkeypatch, grow)
    assert score(input=name).code == 0
    assert pq.read_table("out").num_rows == 50


@pytest.mark.parametrize("name", ["in.csv", "in.jsonl", "in.avro", "in.parquet", "in.csv.gz"])
@pytest.mark.parametrize("how", ["shrinks", "vanishes"])
def test_a_file_that_shrinks_or_vanishes(
    score: Score, workdir: Path, monkeypatch: pytest.MonkeyPatch, name: str, how: str
) -> None:
    path = write_as(workdir / name, numbers(5000))

    def shrink() -> None:
        os.truncate(path, path.stat().st_size // 2)

    Changing(monkeypatch, shrink if how == "shrinks" else path.unlink)
    ended = score(input=name)
    assert ended.code == 1, ended.err
    assert name in ended.err
    assert "Nothing was made final" in ended.err
    assert not Path("out").exists()


@pytest.mark.parametrize("name", ["csv", "jsonl", "jsonl.gz"])
def test_an_empty_text_file_among_others_adds_nothing(
    score: Score, workdir: Path, name: str
) -> None:
    compress = COMPRESS.get(f".{name.rpartition('.')[2]}", bytes)
    for number in range(3):
        write_as(workdir / f"d/{number}.{name}", numbers(5))
    Path(f"d/empty.{name}").write_bytes(compress(b""))
    Path(f"d/blank.{name}").write_bytes(compress(b" \r\n\n"))
    Path(f"d/nothing.{name}").write_bytes(b"")
    ended = score(input="d")
    assert ended.code == 0, ended.err
    assert pq.read_table("out").num_rows == 15


@pytest.mark.parametrize("name", ["in.csv", "in.jsonl"])
def test_nothing_but_empty_text_files(score: Score, workdir: Path, name: str) -> None:
    Path(name).write_bytes(b"")
    ended = score(input=name)
    assert ended.code == 2
    assert ended.err == (
        f"scoreline: {name} is empty, and no other input file says what columns it has\n"
    )


def test_csv_of_a_header_alone(score: Score, workdir: Path) -> None:
    Path("in.csv").write_text("a,b,c,word\n")
    ended = score("--output-json", input="in.csv")
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["rows"]["read"] == 0
    schema = pq.read_schema("out/part-00000.parquet")
    assert [schema.field(name).type for name in NUMBERS] == [pa.float64()] * 3
    assert schema.field("word").type == pa.string()


def test_many_small_files(score: Score, workdir: Path, classifier: LogisticRegression) -> None:
    """A thousand here; ten thousand take ten times as long."""
    table = numbers(1000)
    Path("d").mkdir()
    for number, line in enumerate(json_text(table).splitlines()):
        Path(f"d/{number:04d}.jsonl").write_bytes(line)
    ended = score("--output-json", input="d")
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["rows"]["read"] == 1000
    scored = pq.read_table("out")
    assert scored["id"].equals(table["id"])
    expected = classifier.predict(table.select(NUMBERS).to_pandas())
    assert scored["prediction"].to_pylist() == expected.tolist()


@pytest.mark.parametrize("output", ["d/out", "d/out.parquet", "d/deep/out"])
def test_a_glob_that_matches_the_output_itself(score: Score, workdir: Path, output: str) -> None:
    write(workdir / "d/in.parquet", numbers(20))
    assert score(input="d/**", output=output).code == 0
    before = {path: path.stat().st_mtime_ns for path in Path("d").rglob("*")}

    again = score(input="d/**", output=output)
    assert again.code == 2
    assert "exists" in again.err

    forced = score("--overwrite", input="d/**", output=output)
    assert forced.code == 2
    assert forced.err.startswith(f"scoreline: {output}")
    assert "is both input and output. Choose another --output" in forced.err
    assert before == {path: path.stat().st_mtime_ns for path in Path("d").rglob("*")}


def test_every_second_line_broken(score: Score, workdir: Path) -> None:
    good = json_text(numbers(2000)).splitlines(keepends=True)
    Path("in.jsonl").write_bytes(b"".join(b"{broken\n" + line for line in good))
    assert score(*LENIENT, input="in.jsonl").code == 0
    assert pq.read_table("out").num_rows == 2000
    assert len(dead_letters()) == 2000


def test_two_csv_files_with_other_columns(score: Score, workdir: Path) -> None:
    write_as(workdir / "d/1.csv", numbers(3))
    write_as(workdir / "d/2.csv", numbers(3).drop_columns("id"))
    ended = score(input="d")
    assert ended.code == 2
    assert "id: int64 in d/1.csv, missing in d/2.csv" in ended.err


def test_csv_files_with_columns_in_another_order(score: Score, workdir: Path) -> None:
    write_as(workdir / "d/1.csv", numbers(3))
    write_as(workdir / "d/2.csv", numbers(3).select(["id", "c", "b", "a"]))
    assert score(input="d").code == 0
    scored = pq.read_table("out")
    assert scored["id"].to_pylist() == [0, 1, 2] * 2
    assert scored["a"].to_pylist() == numbers(3)["a"].to_pylist() * 2


def test_an_avro_block_that_is_damaged(score: Score, workdir: Path) -> None:
    data = bytearray(avro_bytes(numbers(5000), "deflate"))
    data[len(data) // 2 : len(data) // 2 + 50] = bytes(50)
    Path("in.avro").write_bytes(data)
    ended = score(input="in.avro")
    assert ended.code == 1
    assert "cannot read in.avro" in ended.err
    assert not Path("out").exists()


def test_gzip_of_several_members(score: Score, workdir: Path) -> None:
    lines = json_text(numbers(20)).splitlines(keepends=True)
    halves = [b"".join(lines[:10]), b"".join(lines[10:])]
    Path("in.jsonl.gz").write_bytes(b"".join(gzip.compress(half) for half in halves))
    assert score(input="in.jsonl.gz").code == 0
    assert pq.read_table("out").num_rows == 20
