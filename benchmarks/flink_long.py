"""Turns a long stream on a Flink cluster into a picture: checkpoint bytes and memory over time.

The cluster is that of tests/flink: separate processes on this machine, two TaskManagers with a pool
of Python workers each. A publisher feeds 200 messages a second; files come out.

::

    python benchmarks/flink_long.py                 # 30 minutes, then docs/pictures/flink_long.svg
    python benchmarks/flink_long.py --minutes 2     # to see that it works
    python benchmarks/flink_long.py --draw          # draw what was measured before

Flags behind `--` go to scoreline: `-- --checkpointing_interval=5000`.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from inputs import WORK

_TESTS = Path(__file__).parent.parent / "tests"
sys.path[:0] = [str(_TESTS), str(_TESTS / "flink"), str(_TESTS / "crash")]

from cluster import Cluster  # noqa: E402
from emulator import Emulator  # noqa: E402
from feed import Feed  # noqa: E402
from parts import FLINK, JOB_SERVER, ensure  # noqa: E402
from processes import resident_bytes  # noqa: E402

_RATE = 200.0
_SAMPLE_SECS = 10.0
_START_SECS = 240.0
_MEASURED = WORK / "flink_long.json"
_PICTURE = Path(__file__).parent.parent / "docs" / "pictures" / "flink_long.svg"

Sample = dict[str, Any]


def measure(minutes: float, flags: list[str]) -> list[Sample]:
    """Runs the stream; gives a sample every ten seconds."""
    for part in (FLINK, JOB_SERVER):
        ensure(part)
    with tempfile.TemporaryDirectory() as name, Emulator() as emulator:
        folder = Path(name)
        topic = emulator.client.create_topic("transactions")
        subscription = emulator.client.create_subscription("scorer", topic, 10)
        _train(folder / "model.joblib")
        (folder / "cluster").mkdir()
        os.environ["PUBSUB_EMULATOR_HOST"] = emulator.address  # for all that is started here
        with Cluster(folder / "cluster") as cluster:
            command = _command(folder, subscription, cluster, flags)
            with (folder / "log").open("w") as log, subprocess.Popen(command, stderr=log) as job:
                try:
                    return _watched(cluster, job, emulator, topic, folder, minutes)
                finally:
                    job.send_signal(signal.SIGTERM)
                    print((folder / "log").read_text()[-2_000:], file=sys.stderr)


def _train(path: Path) -> None:
    import joblib
    import pandas as pd
    from sklearn.linear_model import LogisticRegression

    rows = pd.DataFrame({"a": [0.0, 1.0, 2.0], "b": [1.0, 0.0, 1.0], "c": [0.0, 0.0, 1.0]})
    joblib.dump(LogisticRegression().fit(rows, ["no", "yes", "yes"]), path)


def _command(folder: Path, subscription: str, cluster: Cluster, flags: list[str]) -> list[str]:
    ends = ("--input", f"pubsub://{subscription}", "--output", str(folder / "out"))
    model = ("--model", str(folder / "model.joblib"), "--allow-pickle")
    words = (*model, *ends, "--keep", "id", "--types", "id=int64")
    return [sys.executable, "-m", "scoreline", "score", *words, *cluster.flags(*flags)]


def _watched(
    cluster: Cluster,
    job: "subprocess.Popen[bytes]",
    emulator: Emulator,
    topic: str,
    folder: Path,
    minutes: float,
) -> list[Sample]:
    flink_job = cluster.rest.wait_for_job(set(), _START_SECS)
    cluster.rest.wait_for_state(flink_job, ("RUNNING",), _START_SECS)
    feed = Feed(emulator.address, topic, folder / "feed.jsonl", rate=_RATE)
    started, samples = time.monotonic(), []
    try:
        while (elapsed := time.monotonic() - started) < 60 * minutes:
            assert job.poll() is None, (folder / "log").read_text()
            samples.append(_sample(cluster, flink_job, job.pid) | {"secs": round(elapsed, 1)})
            print(f"  {json.dumps(samples[-1])}", file=sys.stderr, flush=True)
            time.sleep(_SAMPLE_SECS)
    finally:
        published = len(feed.stop())
    print(f"  {published} messages published", file=sys.stderr)
    return samples


def _sample(cluster: Cluster, flink_job: str, launcher: int) -> Sample:
    completed = cluster.rest.checkpoints(flink_job)["latest"]["completed"] or {}
    memory = {"launcher": resident_bytes(launcher), "jobmanager": _rss(cluster.jobmanager.pid)}
    for pod in cluster.pods:
        memory[f"taskmanager {pod.number}"] = _rss(pod.taskmanager.pid)
        for pid in pod.workers():
            memory[f"worker of {pod.number}"] = _rss(pid)
    return {
        "checkpoint_bytes": completed.get("state_size"),
        "checkpoint_millis": completed.get("end_to_end_duration"),
        "checkpoint": completed.get("id"),
        "memory": memory,
    }


def _rss(pid: int) -> int:
    return resident_bytes(pid)


def draw() -> Path:
    """Draws the size of the checkpoints, and below it the memory of each process."""
    try:
        import matplotlib
    except ImportError:
        sys.exit(f"{_MEASURED} is kept; drawing it needs: pip install matplotlib, then --draw")
    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "flink_long"  # the same figures give the same file
    from matplotlib import pyplot

    samples: list[Sample] = json.loads(_MEASURED.read_text())
    minutes = [sample["secs"] / 60 for sample in samples]
    figure, (upper, lower) = pyplot.subplots(2, figsize=(7, 6), sharex=True, layout="constrained")
    sizes = [(sample["checkpoint_bytes"] or 0) / 1e6 for sample in samples]
    upper.plot(minutes, sizes)
    upper.set_ylabel("bytes of a checkpoint, MB")
    names = sorted({name for sample in samples for name in sample["memory"]})
    for name in names:
        values = [sample["memory"].get(name, 0) / 2**20 or None for sample in samples]
        lower.plot(minutes, values, label=name)
    lower.set_ylabel("RSS, MiB")
    lower.set_xlabel("minutes at 200 messages/s")
    lower.set_ylim(bottom=0)
    for axes in (upper, lower):
        axes.grid(visible=True, alpha=0.3)
    lower.legend(fontsize="small", ncols=2)
    _PICTURE.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(_PICTURE, metadata={"Date": None})
    pyplot.close(figure)
    return _PICTURE


def main() -> None:
    """Reads the command line, measures and draws."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--draw", action="store_true", help="draw what was measured before")
    parser.add_argument("flags", nargs="*", help="flags of scoreline, behind --")
    args = parser.parse_args()
    if not args.draw:
        samples = measure(args.minutes, args.flags)
        WORK.mkdir(exist_ok=True)
        _MEASURED.write_text(json.dumps(samples))
    print(draw())


if __name__ == "__main__":
    main()
