import errno
import time
from pathlib import Path

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fake_pubsub import eventually
from in_process import in_process
from scored import SOURCE, scored

from scoreline.transforms import FileLayout, stream_files
from scoreline.transforms.dead_letters import Reasons, to_dead_letters
from scoreline.transforms.storage import list_files
from scoreline.transforms.stream_files import WriteStreamFiles
from scoreline.transforms.telemetry import TELEMETRY

pytestmark = pytest.mark.usefixtures("stream")
RUN = "20240501T120000Z-0a1b2c"


@pytest.fixture
def layout(tmp_path):
    return FileLayout(str(tmp_path / "out"))


def dead_letters(stage="conform", **columns):
    batch = scored(**columns)
    rows = batch.num_rows
    reasons = Reasons(stage, ["missing_value"] * rows, ["ValueError"] * rows, ["a"] * rows)
    return to_dead_letters(batch, reasons, RUN, None)


class Writer:
    """Drives a DoFn through bundles without Beam."""

    def __init__(self, layout, kind="predicted", keep=None, **options):
        self.fn = WriteStreamFiles(layout, RUN, kind, keep, **options)._write
        self.fn.setup()

    def bundle(self, *batches):
        self.fn.start_bundle()
        for batch in batches:
            self.fn.process(batch)
        self.fn.finish_bundle()


def rows_of(folder):
    return [row for path in list_files(str(folder)) for row in pq.read_table(path).to_pylist()]


class BrokenDisk:
    """Has a step of writing a file fail, a number of times."""

    def __init__(self, monkeypatch, name, times, error=None):
        self.left, self.real = times, getattr(stream_files, name)
        self.error = error or OSError(errno.ENOSPC, "No space left on device")
        monkeypatch.setattr(stream_files, name, self)

    def __call__(self, *args):
        if self.left:
            self.left -= 1
            raise self.error
        return self.real(*args)


def test_each_bundle_becomes_one_file(layout):
    writer = Writer(layout, keep=("a",))
    writer.bundle(scored(a=[1, 2], b=[0, 0]), scored(first=2, a=[3], b=[0]))
    writer.bundle(scored(first=3, a=[4], b=[0]))
    names = [Path(path).name for path in layout.existing()]
    assert len(names) == 2
    assert [name[: len(RUN) + 5] for name in names] == [f"part-{RUN}"] * 2
    assert [name[-15:] for name in names] == ["-000001.parquet", "-000002.parquet"]
    assert list_files(layout.output) == layout.existing()  # nothing else, nothing staged
    rows = rows_of(layout.output)
    assert [row["a"] for row in rows] == [1, 2, 3, 4]
    assert [row["row_id"] for row in rows] == [f"{SOURCE}#{number}" for number in range(4)]
    assert list(rows[0]) == ["a", "prediction", "model_version", "row_id"]


def test_a_bundle_without_rows_makes_no_file(layout):
    Writer(layout).bundle()
    Writer(layout, "dead_lettered").bundle()
    assert list_files(layout.output) == []
    assert TELEMETRY.snapshot().rows["predicted"] == 0


def test_the_format_is_that_of_the_layout(tmp_path):
    layout = FileLayout(str(tmp_path / "out"), part_extension=".jsonl")
    Writer(layout, keep=("a",)).bundle(scored(a=[1]))
    (path,) = layout.existing()
    assert path.endswith("-000001.jsonl")
    assert Path(path).read_text().startswith('{"a":1,"prediction":0.0,')


def test_two_writers_of_one_run_do_not_meet(layout):
    Writer(layout).bundle(scored(a=[1]))
    Writer(layout).bundle(scored(a=[2]))
    assert len(layout.existing()) == 2


def test_rows_are_counted_once_their_file_is_complete(layout, monkeypatch):
    writer = Writer(layout)
    writer.fn.start_bundle()
    writer.fn.process(scored(a=[1, 2], age_secs=3))
    assert TELEMETRY.snapshot().rows["predicted"] == 0
    assert list_files(layout.output) == []
    writer.fn.finish_bundle()
    now = TELEMETRY.snapshot()
    assert now.rows["predicted"] == 2
    assert dict(now.sink_rows) == {layout.output: 2}
    assert 3 <= now.latency.quantile(0.5) < 6


def test_a_second_sink_counts_its_own_rows_only(layout):
    Writer(layout, sink=1).bundle(scored(a=[1, 2]))
    now = TELEMETRY.snapshot()
    assert (now.rows["predicted"], dict(now.sink_rows)) == (0, {layout.output: 2})
    assert now.latency.num_values == 0


def test_dead_letters_lie_apart(layout):
    Writer(layout, "dead_lettered").bundle(dead_letters(a=[1, 2]), dead_letters(a=[3]))
    (path,) = layout.existing()
    assert path.startswith(f"{layout.dead_letter_path}/part-{RUN}-")
    assert path.endswith("-000001-conform.parquet")
    assert len(rows_of(layout.dead_letter_path)) == 3
    now = TELEMETRY.snapshot()
    assert now.rows["dead_lettered"] == 3
    assert dict(now.codes) == {"conform/missing_value": 3}


def test_a_bundle_that_fails_leaves_nothing_final(layout, monkeypatch):
    BrokenDisk(monkeypatch, "move", 1, OSError("gone"))
    writer = Writer(layout, retry_secs=0.0)
    with pytest.raises(OSError, match="gone"):
        writer.bundle(scored(a=[1]))
    assert layout.existing() == []
    assert TELEMETRY.snapshot().rows["predicted"] == 0
    writer.bundle(scored(a=[2]))
    assert [row["a"] for path in layout.existing() for row in pq.read_table(path).to_pylist()] == [
        2
    ]


def test_rows_of_a_bundle_that_was_left_do_not_come_with_the_next(layout):
    writer = Writer(layout)
    writer.fn.start_bundle()
    writer.fn.process(scored(a=[1]))
    writer.bundle(scored(a=[2]))
    assert [row["a"] for row in rows_of(layout.output)] == [2]
    assert TELEMETRY.snapshot().latency.num_values == 1


@pytest.mark.parametrize("step", ["create", "move", "sync"])
def test_a_disk_that_is_full_for_a_while_costs_time_only(layout, monkeypatch, caplog, step):
    BrokenDisk(monkeypatch, step, 2)
    Writer(layout).bundle(scored(a=[1]))
    assert [row["a"] for row in rows_of(layout.output)] == [1]
    assert list_files(layout.output) == layout.existing()
    assert TELEMETRY.snapshot().state == "pulling"
    began, ended = [record.getMessage() for record in caplog.records]
    assert began.startswith(f"writing to {layout.output} does not answer, retrying: [Errno 28]")
    assert "answers again after" in ended


def test_of_dead_letters_their_own_folder_is_named(layout, monkeypatch, caplog):
    """It may be on another disk than the predictions."""
    BrokenDisk(monkeypatch, "move", 1)
    Writer(layout, "dead_lettered").bundle(dead_letters(a=[1]))
    began = caplog.records[0].getMessage()
    assert began.startswith(f"writing to {layout.dead_letter_path} does not answer, retrying: [")


class ServiceUnavailable(Exception):
    """Errors of Google's, Amazon's and Microsoft's libraries are plain exceptions."""


def test_a_store_whose_library_raises_what_it_likes_is_tried_again(layout, monkeypatch, caplog):
    BrokenDisk(monkeypatch, "create", 2, ServiceUnavailable("503"))
    Writer(layout).bundle(scored(a=[1]))
    assert [row["a"] for row in rows_of(layout.output)] == [1]
    began, _ = [record.getMessage() for record in caplog.records]
    assert began.endswith("does not answer, retrying: ServiceUnavailable: 503")


def test_a_store_that_stays_away_fails_the_bundle(layout, monkeypatch):
    broken = BrokenDisk(monkeypatch, "create", 1_000, ServiceUnavailable("503"))
    with pytest.raises(ServiceUnavailable):
        Writer(layout, retry_secs=0.3).bundle(scored(a=[1]))
    assert broken.left < 999


@pytest.mark.parametrize(
    "error",
    [
        TypeError,
        ValueError,
        KeyError,
        AttributeError,
        MemoryError,
        RuntimeError,
        pa.ArrowInvalid,
    ],
)
def test_a_mistake_of_ours_is_not_tried_again(layout, monkeypatch, error):
    broken = BrokenDisk(monkeypatch, "create", 2, error("ours"))
    with pytest.raises(error):
        Writer(layout).bundle(scored(a=[1]))
    assert broken.left == 1


def test_a_disk_that_stays_full_fails_the_bundle(layout, monkeypatch):
    BrokenDisk(monkeypatch, "create", 1_000)
    started = time.monotonic()
    with pytest.raises(OSError, match="No space left"):
        Writer(layout, retry_secs=0.3).bundle(scored(a=[1]))
    assert time.monotonic() - started < 2
    assert TELEMETRY.snapshot().state == "retrying"


def test_what_is_wrong_with_the_rows_is_not_tried_again(layout):
    with pytest.raises(ValueError, match="already has a column 'row_id'"):
        Writer(layout).bundle(scored(row_id=[1]))


def test_batches_of_one_bundle_may_differ_in_the_width_of_a_type(layout):
    narrow, wide = pa.array([1], pa.int64()), pa.array([2], pa.int32())
    Writer(layout).bundle(scored(a=narrow), scored(a=wide))
    assert [row["a"] for row in rows_of(layout.output)] == [1, 2]


def test_a_remote_store_gets_files_too(memory):
    layout = FileLayout("memory://bucket/out")
    Writer(layout).bundle(scored(a=[1]))
    (path,) = layout.existing()
    assert list_files(layout.output) == [path]


def test_through_a_pipeline_with_several_sinks(tmp_path):
    first, second = FileLayout(str(tmp_path / "one")), FileLayout(str(tmp_path / "two"))
    with in_process() as pipeline:
        rows = pipeline | beam.Create([scored(a=[1, 2], b=[3, 4])])
        rows | "First" >> WriteStreamFiles(first, RUN, "predicted", ("a",))
        rows | "Second" >> WriteStreamFiles(second, RUN, "predicted", ("b",), sink=1)
        dead = pipeline | "Dead" >> beam.Create([dead_letters(a=[9])])
        dead | "Third" >> WriteStreamFiles(first, RUN, "dead_lettered")
    assert [row["a"] for row in rows_of(tmp_path / "one") if "a" in row] == [1, 2]
    assert [row["b"] for row in rows_of(tmp_path / "two")] == [3, 4]
    assert len(rows_of(first.dead_letter_path)) == 1
    now = TELEMETRY.snapshot()
    assert (now.rows["predicted"], now.rows["dead_lettered"]) == (2, 1)
    assert dict(now.sink_rows) == {first.output: 2, second.output: 2}


def test_when_one_sink_fails_the_pipeline_does(layout, tmp_path):
    pipeline = in_process()
    rows = pipeline | beam.Create([scored(a=[1])])
    rows | WriteStreamFiles(layout, RUN, "predicted", ("missing",))
    with pytest.raises(ValueError, match=r"cannot keep the columns \['missing'\]"):
        pipeline.run()
    assert eventually(lambda: list_files(layout.output) == [])
