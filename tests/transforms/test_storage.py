import errno
import json
import os
from pathlib import Path

import pytest

from scoreline.transforms import storage
from scoreline.transforms.storage import (
    absolute,
    create,
    exists,
    is_folder,
    is_local,
    join,
    list_files,
    literal,
    move,
    open_file,
    read_json,
    remove,
    remove_empty_folder,
    remove_folder,
    remove_scratch,
    remove_scratch_below,
    write_json,
    write_text,
)


@pytest.fixture(params=["local", "remote"])
def root(request, tmp_path, memory):
    """A folder, once of the local file system and once of a remote one."""
    return str(tmp_path / "root [x]") if request.param == "local" else "memory://bucket/root [x]"


def content(path):
    with open_file(path) as file:
        return file.read()


def fill(path, data=b"data"):
    with create(path) as file:
        file.write(data)
    return path


def test_names():
    assert join("a", "b", "c.json") == "a/b/c.json"
    assert join("/", "a") == "/a"
    assert join("memory://b/", "a") == "memory://b/a"
    assert is_local("a/b")
    assert not is_local("gs://b/a")
    assert absolute("gs://b/a") == "gs://b/a"
    assert absolute("a") == str(Path.cwd() / "a")
    assert absolute("/a") == "/a"
    assert literal("a*[b]?") == "a[*][[]b][?]"
    assert is_folder("gs://b/a/")
    assert not is_folder("gs://b/a")
    assert is_folder("/")


def test_a_file_is_made_read_found_and_removed(root):
    path = join(root, "deep", "file.bin")
    assert not exists(path)
    fill(path)
    assert exists(path)
    assert content(path) == b"data"
    remove(path)
    assert not exists(path)
    remove(path)  # again: nothing to do


def test_a_compressed_name_changes_nothing(root):
    assert content(fill(join(root, "a.gz"))) == b"data"


def test_all_files_below_a_folder_are_listed(root):
    assert list_files(root) == []
    paths = [fill(join(root, name)) for name in ("b", "a/x", "a/_y/z", ".c")]
    fill(f"{root}-not-below/a")
    assert list_files(root) == sorted(paths)


@pytest.mark.parametrize("folder", ["out", "./out", "out/", "./a/../out"])
def test_listed_names_start_as_the_folder_was_named(tmp_path, monkeypatch, folder):
    monkeypatch.chdir(tmp_path)
    Path("a").mkdir()
    fill("out/sub/x")
    assert list_files(folder) == [join(folder, "sub", "x")]


def test_a_folder_is_removed_with_all_in_it(root):
    fill(join(root, "run", "a", "b"))
    fill(join(root, "runner"))
    remove_folder(join(root, "run"))
    assert list_files(root) == [join(root, "runner")]
    remove_folder(join(root, "run"))


def test_only_an_empty_folder_is_removed_as_such(root):
    fill(join(root, "full", "x"))
    remove_empty_folder(join(root, "full"))
    assert exists(join(root, "full", "x"))
    remove(join(root, "full", "x"))
    remove_empty_folder(join(root, "full"))
    assert not exists(join(root, "full"))
    remove_empty_folder(join(root, "full"))


def test_json_and_text_round_trip(root):
    path = join(root, "sub", "a.json")
    write_json(path, {"name": "é", "path": Path("x"), "n": [1, None]})
    assert read_json(path) == {"name": "é", "path": "x", "n": [1, None]}
    write_text(path, "ü")
    assert content(path) == "ü".encode()
    assert list_files(root) == [path]


def test_what_is_no_json_is_an_error(root):
    path = fill(join(root, "a.json"), b"{")
    with pytest.raises(json.JSONDecodeError):
        read_json(path)


def test_a_full_disk_leaves_the_old_text_and_nothing_beside_it(tmp_path, monkeypatch):
    path = str(tmp_path / "a.json")
    write_text(path, "old")

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(storage.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_text(path, "new")
    assert Path(path).read_text() == "old"
    assert list_files(str(tmp_path)) == [path]


def test_what_a_killed_writer_left_is_removed_and_nothing_else(tmp_path):
    path = tmp_path / "a[1].json"
    scratch = tmp_path / f"a[1].json.{'0f' * 16}.tmp"
    others = [path, tmp_path / "a[1].json.mine.tmp", tmp_path / f"b.json.{'0f' * 16}.tmp"]
    for file in [scratch, *others]:
        file.touch()
    remove_scratch(str(path))
    assert sorted(tmp_path.iterdir()) == sorted(others)
    remove_scratch("memory://b/x")


def test_a_move_replaces_its_target_and_may_be_repeated(root):
    source, target = fill(join(root, "staged", "a"), b"new"), fill(join(root, "b", "c"), b"old")
    for _ in range(2):
        move(source, target)
        assert content(target) == b"new"
        assert not exists(source)


def test_a_move_without_source_and_target_is_an_error(root):
    with pytest.raises(FileNotFoundError, match=r"cannot make .*/b final: .*/a is gone"):
        move(join(root, "a"), join(root, "b"))


def test_a_move_that_was_cut_short_is_repeated(memory):
    source, target = fill("memory://b/staged"), "memory://b/final"
    memory.operations_left = 1  # copied, not yet deleted
    with pytest.raises(OSError, match="killed"):
        move(source, target)
    memory.operations_left = 10
    move(source, target)
    assert memory.files == {target: b"data"}


@pytest.mark.parametrize("there", [True, False])
def test_a_move_between_file_systems_carries_the_content(tmp_path, memory, there):
    local, remote = str(tmp_path / "x" / "a"), "memory://b/a"
    source, target = (local, remote) if there else (remote, local)
    fill(target, b"old")
    fill(source, b"new")
    move(source, target)
    assert content(target) == b"new"
    assert not exists(source)
    assert list_files(str(tmp_path)) == ([] if there else [local])


def _on_two_devices(monkeypatch):
    replace = Path.replace

    def refuse(self, target):
        if Path(self).parent != Path(target).parent:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", refuse)


def test_a_move_to_another_device_is_a_copy_and_a_rename(tmp_path, monkeypatch):
    _on_two_devices(monkeypatch)
    source, target = fill(str(tmp_path / "a" / "x"), b"new"), fill(str(tmp_path / "b" / "y"))
    Path(f"{target}.{'0' * 32}.tmp").touch()  # of an attempt that was killed
    move(source, target)
    assert Path(target).read_bytes() == b"new"
    assert list_files(str(tmp_path)) == [target]


@pytest.mark.parametrize("scheme", ["", "memory://bucket/"])
def test_what_is_copied_to_a_device_is_durable_before_it_has_its_name(
    tmp_path, memory, monkeypatch, scheme
):
    _on_two_devices(monkeypatch)
    steps, fsync, replace = [], os.fsync, Path.replace

    def note_sync(descriptor):
        steps.append(("fsync", os.fstat(descriptor).st_size))
        fsync(descriptor)

    def note_replace(self, target):
        replace(self, target)
        steps.append(("replace", Path(target).stat().st_size))

    source = fill(f"{scheme}x" if scheme else str(tmp_path / "a" / "x"), b"new")
    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(Path, "replace", note_replace)
    move(source, str(tmp_path / "b" / "y"))
    assert steps == [("fsync", 3), ("replace", 3)]


def test_what_killed_copies_left_in_a_folder_is_removed(tmp_path):
    mine = tmp_path / f"part-r1-01.parquet.{'0f' * 16}.tmp"
    others = [tmp_path / f"part-r2-01.parquet.{'0f' * 16}.tmp", tmp_path / "part-r1-01.parquet"]
    for file in [mine, *others]:
        file.touch()
    remove_scratch_below(str(tmp_path), "part-r1-")
    assert sorted(tmp_path.iterdir()) == sorted(others)
    remove_scratch_below(str(tmp_path / "none"), "part-r1-")
    remove_scratch_below("memory://b", "part-r1-")


def test_a_move_to_a_full_device_leaves_source_and_target(tmp_path, monkeypatch):
    _on_two_devices(monkeypatch)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(storage.shutil, "copyfile", full)
    source, target = fill(str(tmp_path / "a" / "x"), b"new"), fill(str(tmp_path / "b" / "y"))
    with pytest.raises(OSError, match="No space left"):
        move(source, target)
    assert list_files(str(tmp_path)) == [source, target]
    assert Path(target).read_bytes() == b"data"


def test_any_other_trouble_with_a_rename_is_raised(tmp_path):
    source = fill(str(tmp_path / "x"))
    (tmp_path / "folder" / "full").mkdir(parents=True)
    with pytest.raises(OSError, match="directory"):
        move(source, str(tmp_path / "folder"))
    assert exists(source)
