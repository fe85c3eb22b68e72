import fcntl
import threading
from pathlib import Path
from typing import Any

import pytest

from scoreline.pipelines.lock import locked


def test_one_at_a_time(tmp_path: Path) -> None:
    folder = str(tmp_path / "a/b")
    order: list[str] = []
    inside = threading.Event()

    def second() -> None:
        inside.wait()
        with locked(folder):
            order.append("second")

    thread = threading.Thread(target=second)
    thread.start()
    with locked(folder):
        inside.set()
        thread.join(0.1)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
    assert not list(Path(folder).iterdir())


def test_a_folder_that_is_removed_meanwhile_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever waited for the lock of a folder that has gone holds a lock that nobody else sees."""
    folder = tmp_path / "a"
    flock, removed = fcntl.flock, []

    def flock_after_removal(descriptor: int, how: int) -> None:
        if not removed:
            folder.rmdir()
            removed.append(folder)
        flock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", flock_after_removal)
    with locked(str(folder)):
        assert folder.is_dir()


def test_a_folder_that_is_removed_before_it_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import scoreline.pipelines.lock as module

    made: list[Any] = []

    def make_late(folder: str) -> None:
        made.append(folder)
        if len(made) > 1:
            Path(folder).mkdir()

    monkeypatch.setattr(module, "make_folder", make_late)
    with locked(str(tmp_path / "a")):
        assert len(made) == 2


def test_object_stores_have_no_lock() -> None:
    with locked("gs://bucket/out/_run"):
        pass
