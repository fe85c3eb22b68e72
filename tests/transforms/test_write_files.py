from pathlib import Path

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms.window import FixedWindows, TimestampedValue
from in_process import in_process

from scoreline.transforms import FileLayout, Receipt, WriteFiles, write_files
from scoreline.transforms.identity import identify
from scoreline.transforms.storage import list_files
from scoreline.transforms.write_files import _RenameFn


def batches(*splits):
    return [
        identify(pa.record_batch({"x": [split * 10, split * 10 + 1]}), "f", split * 2, split)
        for split in splits
    ]


def write(path, *splits, **options):
    with in_process() as pipeline:
        files = pipeline | beam.Create(batches(*splits)) | WriteFiles(path, **options)
        expected = {
            part if path.endswith(".parquet") else f"{path}/{part}"
            for part in ([path] if path.endswith(".parquet") else _parts(splits))
        }
        assert_that(files, equal_to(sorted(expected) if splits else []))


def _parts(splits):
    return [f"part-{split:05d}.parquet" for split in sorted(splits)]


def test_a_folder_of_parts_and_nothing_else(tmp_path):
    path = str(tmp_path / "out")
    write(path, 1, 0)
    assert list_files(path) == [f"{path}/{part}" for part in _parts([0, 1])]
    assert pq.read_table(path).column("x").to_pylist() == [0, 1, 10, 11]
    assert [entry.name for entry in sorted(Path(path).iterdir())] == _parts([0, 1])


def test_one_file_holds_all_splits_in_order(tmp_path):
    path = str(tmp_path / "out.parquet")
    write(path, 2, 0, 1, row_id=True)
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.parquet"]
    table = pq.read_table(path)
    assert table.column("x").to_pylist() == [0, 1, 10, 11, 20, 21]
    assert table.column("row_id").to_pylist() == [f"f#{row}" for row in range(6)]


def test_one_split_to_one_file(tmp_path):
    path = str(tmp_path / "out.parquet")
    write(path, 0, keep=("x",))
    assert pq.read_table(path).to_pylist() == [{"x": 0}, {"x": 1}]


def test_without_a_batch_nothing_is_written(tmp_path):
    write(str(tmp_path / "out"))
    assert list(tmp_path.iterdir()) == []


def test_a_remote_folder(memory):
    write("memory://b/out", 0, 1)
    assert sorted(memory.files) == [f"memory://b/out/{part}" for part in _parts([0, 1])]


@pytest.mark.parametrize("name", ["out", "out.parquet"])
def test_files_of_an_earlier_run_are_refused(tmp_path, name):
    path = str(tmp_path / name)
    write(path, 0, 1, 2)
    with pytest.raises(Exception, match=r"holds files of an earlier run.*overwrite=True"):
        write(path, 5)
    assert len(pq.read_table(path)) == 6


@pytest.mark.parametrize("name", ["out", "out.parquet"])
def test_files_of_an_earlier_run_are_replaced_if_told_so(tmp_path, name):
    path = str(tmp_path / name)
    write(path, 0, 1, 2)
    write(path, 1, 7, overwrite=True)
    assert pq.read_table(path).column("x").to_pylist() == [10, 11, 70, 71]


def test_files_of_somebody_else_are_left_alone(tmp_path):
    (tmp_path / "notes.txt").touch()
    write(str(tmp_path), 0, overwrite=True)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["notes.txt", *_parts([0])]


def test_all_windows_go_into_the_same_files(tmp_path):
    with in_process() as pipeline:
        files = (
            pipeline
            | beam.Create([0, 1])
            | beam.Map(_at_its_time).with_output_types(pa.RecordBatch)
            | beam.WindowInto(FixedWindows(10))
            | WriteFiles(str(tmp_path))
        )
        assert_that(files, equal_to([f"{tmp_path}/{part}" for part in _parts([0, 1])]))


def _at_its_time(split):
    return TimestampedValue(batches(split)[0], 100 * split)


def staged(layout, *splits):
    receipts = []
    for split in splits:
        path = Path(layout.staging("r")) / f"p{split}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table({"x": [split]}), path)
        receipts.append(Receipt("predicted", split, 1, str(path)))
    return receipts


class Killed(BaseException):
    pass


@pytest.mark.parametrize("when", range(1, 12))
@pytest.mark.parametrize("overwrite", [True, False])
@pytest.mark.parametrize("name", ["out", "out.parquet"])
def test_the_last_step_may_be_repeated_wherever_it_stopped(
    tmp_path, monkeypatch, name, overwrite, when
):
    layout = FileLayout(str(tmp_path / name))
    if overwrite:
        for old in [""] if layout.is_one_file else ["/part-00000.parquet", "/part-00007.parquet"]:
            Path(f"{layout.output}{old}").parent.mkdir(exist_ok=True)
            pq.write_table(pa.table({"x": [99]}), f"{layout.output}{old}")
    receipts = staged(layout, 0, 1, 2)
    rename = _RenameFn(layout, "r", overwrite)
    left = [when]

    def killed_at_last(function):
        def call(*args):
            left[0] -= 1
            if left[0] == 0:
                raise Killed
            return function(*args)

        return call

    with monkeypatch.context() as patch:
        for operation in ("move", "remove", "remove_folder", "merge_parts", "remove_empty_folder"):
            patch.setattr(write_files, operation, killed_at_last(getattr(write_files, operation)))
        try:
            list(rename.process(receipts))
        except Killed:
            assert left[0] == 0
    finals = list(rename.process(receipts))
    assert pq.read_table(layout.output).column("x").to_pylist() == [0, 1, 2]
    assert len(finals) == (1 if layout.is_one_file else 3)
    assert sorted(list_files(str(tmp_path))) == sorted(finals)
