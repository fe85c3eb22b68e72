"""Claims and recoveries, without a pipeline; with real processes they are in tests/crash."""

import json
from pathlib import Path
from typing import Any

import pytest

from scoreline.pipelines import run_folder
from scoreline.pipelines.errors import UsageError
from scoreline.pipelines.failure import RunFailedError
from scoreline.pipelines.heartbeat import Heartbeat
from scoreline.pipelines.run_folder import Claim, Recovery, new_run_id, recover
from scoreline.transforms.layout import FileLayout
from scoreline.transforms.telemetry import Telemetry
from scoreline.transforms.worker_files import write_worker

pytestmark = pytest.mark.usefixtures("workdir")


def intent(folder: str, content: str | None = None) -> Path:
    path = Path(folder) / "commit.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    report = {"exit_code": 0, "run_id": path.parent.name}
    values: dict[str, Any] = {"fingerprint": "f", "moves": [], "removes": [], "report": report}
    path.write_text(json.dumps({**values, "staging": "none"}) if content is None else content)
    return path


def test_run_ids_differ_and_sort_by_time() -> None:
    ids = [new_run_id() for _ in range(100)]
    assert len(set(ids)) == 100
    assert ids[0][:8].isdigit()


def test_where_nothing_is_there_is_nothing_to_recover() -> None:
    assert recover(FileLayout("out"), "f") == Recovery(None, ())
    assert not Path("out").exists()


def test_object_stores_are_looked_at_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_folder, "exists", lambda path: False)
    monkeypatch.setattr(run_folder, "list_files", lambda folder: [])
    assert recover(FileLayout("gs://bucket/out"), "f") == Recovery(None, ())


def test_a_run_that_lives_is_left_alone_and_named() -> None:
    layout = FileLayout("out")
    heartbeat = Heartbeat(layout, "r1")
    heartbeat.start()
    with pytest.raises(UsageError, match=r"run r1 is writing to out now \(process \d+ on "):
        recover(layout, "f")
    heartbeat.stop()


def test_a_run_whose_workers_go_on_without_their_launcher_is_left_alone() -> None:
    """As on a cluster, where the command that submitted a job was killed."""
    layout = FileLayout("out")
    Heartbeat(layout, "r1").stop(leave=True)  # its process is dead
    write_worker("out/_run/r1", Telemetry().snapshot())
    staged = Path(layout.staging("r1")) / "part"
    staged.parent.mkdir(parents=True)
    staged.touch()
    with pytest.raises(UsageError, match="run r1 is writing to out now"):
        recover(layout, "f")
    heartbeat = Path("out/_run/r1/heartbeat.json")
    heartbeat.write_text(json.dumps(json.loads(heartbeat.read_text()) | {"is_shared": True}))
    assert recover(layout, "f", is_shared=True) == Recovery(None, ())
    assert staged.exists()
    (worker,) = Path("out/_run/r1/workers").iterdir()
    said = json.loads(worker.read_text())
    worker.write_text(json.dumps(said | {"process": said["process"] | {"pid_started": "0"}}))
    (note,) = recover(layout, "f", is_shared=True).notes
    assert "run r1 was killed: 1 unfinished file of it removed" in note
    assert not staged.exists()


def test_what_a_killed_stream_had_half_copied_to_another_device_is_removed() -> None:
    layout = FileLayout("out", dead_letters="elsewhere")
    heartbeat = Heartbeat(layout, "r1", is_shared=True)
    heartbeat.start()
    heartbeat.stop(leave=True)
    path = Path("out/_run/r1/heartbeat.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"pid_started": "0"}))
    Path("elsewhere").mkdir()
    half = Path(f"elsewhere/part-r1-5d6e7f80-000001-conform.parquet.{'0f' * 16}.tmp")
    other = Path(f"elsewhere/part-r2-5d6e7f80-000001-conform.parquet.{'0f' * 16}.tmp")
    half.touch()
    other.touch()
    (note,) = recover(layout, "f", is_shared=True).notes
    assert note.startswith("run r1 was killed")
    assert list(Path("elsewhere").iterdir()) == [other]


@pytest.mark.parametrize("content", ["", "{"])
def test_what_an_abandoned_run_leaves_is_no_intent(content: str) -> None:
    intent("out/_run/r1", content)
    (note,) = recover(FileLayout("out"), "f").notes
    assert note.startswith("removed what run r1 left")
    assert not Path("out/_run").exists()


@pytest.mark.parametrize(("fingerprint", "is_same"), [("f", True), ("g", False)])
def test_an_intent_is_rolled_forward_whosever_it_is(fingerprint: str, is_same: bool) -> None:
    intent("out/_run/r1")
    recovery = recover(FileLayout("out"), fingerprint)
    assert recovery.notes == (
        "completed run r1, which was interrupted while it made its output final",
    )
    assert (recovery.report is not None) == is_same
    assert Path("out/_run/r1/_SUCCESS").exists()
    assert recover(FileLayout("out"), fingerprint) == Recovery(None, ())


def test_a_claim_is_refused_while_another_run_lives() -> None:
    layout = FileLayout("out")
    first, second = Claim(layout, "r1", []), Claim(layout, "r2", [])
    first.take()
    with pytest.raises(UsageError, match="run r1 is writing to out now"):
        second.take()
    second.undo()
    assert Path("out/_run/r1/heartbeat.json").exists()
    first.release()
    assert not Path("out/_run").exists()


def test_a_claim_is_refused_if_another_run_has_just_ended() -> None:
    claim = Claim(FileLayout("out"), "r1", [])
    Path("out").mkdir()
    Path("out/part-00000.parquet").touch()
    with pytest.raises(UsageError, match="another run has just changed out"):
        claim.take()
    claim.undo()
    assert [path.name for path in Path("out").rglob("*")] == ["part-00000.parquet"]


def test_undoing_removes_all_that_the_run_made() -> None:
    claim = Claim(FileLayout("a/b/out", report="c/runs"), "r1", [])
    claim.take()
    for path in (Path("a/b/out/_run/r1/staged"), Path("c/runs/r1")):
        path.mkdir(parents=True)
        (path / "x").touch()
    assert claim.undo() == "nothing was made final; the same command starts anew."
    assert not list(Path().iterdir())


def test_undoing_leaves_a_run_that_is_being_made_final() -> None:
    claim = Claim(FileLayout("out"), "r1", [])
    claim.take()
    intent("out/_run/r1")
    assert "it completes the run" in claim.undo()
    assert recover(FileLayout("out"), "f").report is not None
    assert not Path("out/_run/r1/heartbeat.json").exists()


def test_undoing_does_not_promise_to_complete_a_run_that_cannot_be() -> None:
    claim = Claim(FileLayout("out"), "r1", [])
    claim.take()
    intent("out/_run/r1").with_name("lost.json").write_text("{}")
    assert claim.undo() == (
        "the run cannot be completed as it is: what can be done stands in out/_run/r1/lost.json."
    )
    assert json.loads(Path("out/_run/r1/heartbeat.json").read_text())["at"] == 0


@pytest.mark.parametrize("is_lost", [False, True])
def test_a_run_that_cannot_be_completed_now_is_named_and_left(
    monkeypatch: pytest.MonkeyPatch, is_lost: bool
) -> None:
    path = intent("out/_run/r1")

    def roll_forward(folder: str) -> None:
        if is_lost:
            (Path(folder) / "lost.json").write_text("{}")
        raise OSError("no way")

    monkeypatch.setattr(run_folder, "roll_forward", roll_forward)
    with pytest.raises(RunFailedError) as raised:
        recover(FileLayout("out"), "f")
    assert str(raised.value) == (
        "the run into out failed: OSError: no way\n"
        "That was run r1, which was interrupted while it made its output final: "
        + (
            "this run cannot be completed as it is, and no other one was started."
            if is_lost
            else "the same command goes on where it stopped."
        )
    )
    assert path.exists()


def test_undoing_leaves_a_run_that_has_ended() -> None:
    claim = Claim(FileLayout("out"), "r1", [])
    claim.take()
    recover_now = intent("out/_run/r1").parent
    (recover_now / "report.json").write_text('{"exit_code": 3}')
    assert claim.undo() == "the run had just finished: its output is complete."
    assert sorted(path.name for path in recover_now.iterdir()) == ["commit.json", "report.json"]


def test_a_run_that_was_abandoned_cannot_write_an_intent_any_more() -> None:
    folder = Path("out/_run/r1")
    folder.mkdir(parents=True)
    assert run_folder._abandon(str(folder))
    with pytest.raises(json.JSONDecodeError):
        json.loads((folder / "commit.json").read_text())
    assert not run_folder._abandon(str(folder))


def test_abandoning_where_there_is_no_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_folder._abandon("nowhere")
    monkeypatch.setattr(run_folder, "exists", lambda path: True)
    assert not run_folder._abandon("gs://bucket/out/_run/r1")
