"""Jobs through the command line on an engine: Beam's own job server, which runs in this process.

Flink and Prism, whose parts have to be fetched and built, are in tests/flink.
"""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from places import Places, rows_in
from running import Ended, numbers, write

Score = Callable[..., Ended]

ENGINE = ("--runner=PortableRunner", "--job_endpoint=embed")
STREAM = ("--keep", "id", "--types", "id=int64", "--flush-secs", "0.2")


def only_report(root: str) -> dict[str, Any]:
    (path,) = Path(root).glob("*/report.json")
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def test_a_batch_is_what_it_is_in_process(score: Score, workdir: Path, classifier: Any) -> None:
    write(Path("in.parquet"), numbers(3_000))
    assert score(input="in.parquet", output="here").code == 0
    ended = score(*ENGINE, input="in.parquet", output="there")
    assert ended.code == 0, ended.err
    assert "Beam" not in ended.err  # nor what its job servers log
    assert pq.read_table("there").equals(pq.read_table("here"))
    report = only_report("there/_run")
    assert (report["runner"], report["rows"]["predicted"]) == ("PortableRunner", 3_000)
    assert list(Path("there/_run").glob("*/workers/*.json"))


def test_poison_rows_on_an_engine(score: Score, workdir: Path) -> None:
    table = numbers(100)
    values = table["a"].to_pylist()
    values[7] = None
    index = table.schema.get_field_index("a")
    write(Path("in.parquet"), table.set_column(index, "a", pa.array(values)))
    ended = score(*ENGINE, input="in.parquet", output="out")
    assert ended.code == 0, ended.err
    assert only_report("out/_run")["rows"]["dead_lettered"] == 1
    assert pq.read_table("out").num_rows == 99


def test_a_stream_on_an_engine(score: Score, places: Places, workdir: Path) -> None:
    table = numbers(200)
    places.publish_rows(table)
    places.publish([b"no"])
    ended = score(*ENGINE, *STREAM, "--stop-when-idle-secs", "0.5", input=places.uri, output="out")
    assert ended.code == 0, ended.err
    assert [row["id"] for row in rows_in("out")] == table["id"].to_pylist()
    report = only_report("out/_run")
    assert report["runner"] == "PortableRunner"
    assert report["rows"] == {
        "read": 201,
        "predicted": 200,
        "dead_lettered": 1,
        "filtered": 0,
        "deduplicated": 0,
    }
    assert report["latency"]["messages"] == 200
    assert places.left() == []


def test_a_stream_on_an_engine_is_drained(
    places: Places, workdir: Path, classifier_file: Path
) -> None:
    words = ("--model", str(classifier_file), "--allow-pickle", "--input", places.uri)
    command = [sys.executable, "-m", "scoreline", "score", *words, "--output", "out"]
    with subprocess.Popen(
        [*command, *STREAM, *ENGINE], stderr=subprocess.PIPE, text=True
    ) as process:
        places.publish_rows(numbers(50))
        deadline = time.monotonic() + 60
        while not list(Path("out").glob("part-*")) and time.monotonic() < deadline:
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=60)[1]
    assert process.returncode == 0, said
    assert "draining: no more is pulled" in said
    report = only_report("out/_run")
    assert (report["rows"]["read"], report["rows"]["predicted"]) == (50, 50)
    assert places.left() == []
    assert not list(Path("out/_run").glob("*/drain"))


def test_a_check_says_what_is_set_and_why(score: Score, workdir: Path) -> None:
    write(Path("in.parquet"), numbers(10))
    ended = score(*ENGINE, "--dry-run", input="in.parquet", output="out")
    assert ended.code == 0
    assert "runner     PortableRunner\n" in ended.err
    why = "--environment_type=LOOPBACK: the job server is on this machine"
    assert f"           {why}\n" in ended.err
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--runner=FlinkRuner"], "no such runner; did you mean FlinkRunner?"),
        (["--runner=PortableRunner"], "needs --job_endpoint=HOST:PORT"),
        (
            ["--runner=FlinkRunner", "--flink_master=127.0.0.1:9"],
            "no Flink cluster answers there",
        ),
    ],
)
def test_an_engine_that_is_not_there(
    score: Score, workdir: Path, flags: list[str], said: str
) -> None:
    write(Path("in.parquet"), numbers(10))
    ended = score(*flags, input="in.parquet", output="out")
    assert ended.code == 2
    assert said in ended.err
    assert not Path("out").exists()


def test_a_worker_of_another_version_is_refused(
    score: Score, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from scoreline.transforms import watch_workers

    versions = {"python": "3.2.1", "scoreline": "0.0.1"}
    monkeypatch.setattr(watch_workers.Expected, "versions_here", staticmethod(lambda *_: versions))
    write(Path("in.parquet"), numbers(10))
    ended = score(*ENGINE, input="in.parquet", output="out")
    assert ended.code == 1
    assert "instead of 3.2.1" in ended.err
    assert "give the workers the launcher's versions" in ended.err
    assert not list(Path("out").glob("part-*"))
