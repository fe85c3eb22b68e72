"""Files in, files out on a Flink cluster, as a user starts it: exact, whatever dies meanwhile."""

import json
import time
from collections.abc import Callable
from copy import copy
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pyarrow.parquet as pq
import pytest
from cluster import Cluster
from parts import JOB_SERVER
from processes import resident_bytes
from rows import check_whole, write_wide
from sklearn.linear_model import LogisticRegression
from submitted import Submission

Start = Callable[..., Submission]

pytestmark = pytest.mark.timeout(300)

MODEL_BYTES = 500 * 2**20
WORKER_BYTES = 750 * 2**20  # 480 MiB were seen: a second model would be above it
SLOTS = "taskmanager.numberOfTaskSlots"


def report_of(output: Path) -> dict[str, Any]:
    (path,) = (output / "_run").glob("*/report.json")
    return json.loads(path.read_text())


def places(source: Path, output: Path) -> list[str]:
    """Workers have another working directory than the command."""
    return ["--input", str(source), "--output", str(output)]


def test_a_million_rows_are_what_they_are_in_process(
    cluster: Cluster, start: Start, workdir: Path, million: Path, classifier: LogisticRegression
) -> None:
    ended = start(*places(million, workdir / "out"), *cluster.flags("--parallelism=2")).wait()

    assert ended.code == 0, ended.err
    check_whole(workdir / "out", million, classifier)
    rows = report_of(workdir / "out")["rows"]
    assert rows["read"] == rows["predicted"] == 1_000_000
    assert rows["dead_lettered"] == 0
    ended = start(*places(million, workdir / "here")).wait()
    assert ended.code == 0, ended.err
    parts = sorted((workdir / "out").glob("part-*"))
    assert len(parts) > 1
    for part in parts:
        assert pq.read_table(part).equals(pq.read_table(workdir / "here" / part.name))


def test_poison_rows_become_dead_letters_with_an_uber_jar(
    cluster: Cluster, start: Start, workdir: Path, classifier: LogisticRegression
) -> None:
    source = write_wide(workdir / "in.parquet", 200_000, poison_every=1_000)

    flags = cluster.flags("--flink_submit_uber_jar", "--parallelism=2")
    ended = start(*places(source, workdir / "out"), *flags).wait()

    assert ended.code == 0, ended.err
    check_whole(workdir / "out", source, classifier, poison_every=1_000)
    report = report_of(workdir / "out")
    assert report["rows"]["dead_lettered"] == 200
    assert report["rows"]["predicted"] == 199_800


def test_in_a_flink_of_its_own_with_the_workers_in_the_command(
    start: Start, workdir: Path, classifier: LogisticRegression, flink_parts: None
) -> None:
    source = write_wide(workdir / "in.parquet", 200_000)

    flags = ["--runner=FlinkRunner", "--flink_version=1.19", "--flink_master=[local]"]
    more = [f"--flink_job_server_jar={JOB_SERVER.path}", "--environment_type=LOOPBACK"]
    ended = start(*places(source, workdir / "out"), *flags, *more).wait()

    assert ended.code == 0, ended.err
    check_whole(workdir / "out", source, classifier)


def test_through_a_job_server_that_is_there_already(
    cluster: Cluster, start: Start, workdir: Path, classifier: LogisticRegression
) -> None:
    source = write_wide(workdir / "in.parquet", 200_000)
    endpoint = f"--job_endpoint={cluster.job_server()}"

    flags = ["--runner=PortableRunner", endpoint, *cluster.environment]
    ended = start(*places(source, workdir / "out"), *flags).wait()

    assert ended.code == 0, ended.err
    check_whole(workdir / "out", source, classifier)


def kill_a_taskmanager(cluster: Cluster, submission: Submission, output: Path) -> None:
    """kill -9 of a TaskManager that has begun to write, and a new one in its place."""
    deadline = time.monotonic() + 90
    while len(staged(output)) < 2:
        assert submission.is_running(), submission.err()
        assert time.monotonic() < deadline, "nothing is written"
        time.sleep(0.05)
    pod = cluster.pods[0]
    pod.taskmanager.kill()
    assert not list(output.glob("part-*")), "it was too late: all is written"
    cluster.replace_taskmanager(pod)


def staged(output: Path) -> list[Path]:
    return [path for path in output.glob("_run/*/staged/*") if path.is_file()]


def test_a_taskmanager_that_is_killed_costs_no_row(
    cluster: Cluster, start: Start, workdir: Path, classifier: LogisticRegression
) -> None:
    check_kill(cluster, start, workdir, classifier, 4_000_000)


@pytest.mark.flink_soak
@pytest.mark.timeout(1_200)
def test_a_taskmanager_that_is_killed_among_twenty_million_rows(
    cluster: Cluster, start: Start, workdir: Path, classifier: LogisticRegression
) -> None:
    check_kill(cluster, start, workdir, classifier, 20_000_000)


def check_kill(
    cluster: Cluster, start: Start, workdir: Path, classifier: LogisticRegression, rows: int
) -> None:
    source = write_wide(workdir / "in.parquet", rows, poison_every=100_000)
    known = cluster.rest.jobs()

    submission = start(*places(source, workdir / "out"), *cluster.flags("--parallelism=2"))
    job = cluster.rest.wait_for_job(known)
    kill_a_taskmanager(cluster, submission, workdir / "out")
    ended = submission.wait(600)

    assert ended.code == 0, ended.err
    assert cluster.rest.exceptions(job), "the job did not notice"
    check_whole(workdir / "out", source, classifier, poison_every=100_000)
    counts = report_of(workdir / "out")["rows"]
    assert counts["read"] == rows
    assert counts["dead_lettered"] == rows // 100_000


def test_a_large_model_is_loaded_once_for_all_threads_of_a_worker(
    start: Start, workdir: Path, classifier: LogisticRegression, flink_parts: None
) -> None:
    large = copy(classifier)
    large.ballast_ = np.random.default_rng(1).normal(size=MODEL_BYTES // 8)
    joblib.dump(large, model := workdir / "large.joblib")
    source = write_wide(workdir / "in.parquet", 1_000_000)

    with Cluster(workdir / "cluster", num_pods=1, settings={SLOTS: 2}) as cluster:
        words = [*places(source, workdir / "out"), *cluster.flags("--parallelism=2")]
        submission = start(*words, model=model)
        seen: dict[int, list[int]] = {}
        while submission.is_running():
            for pid in cluster.workers():
                seen.setdefault(pid, []).append(resident_bytes(pid))
            time.sleep(0.05)
        ended = submission.wait()

    assert ended.code == 0, ended.err
    check_whole(workdir / "out", source, classifier)
    (sizes,) = seen.values()  # one worker for both slots
    print(f"worker: at most {max(sizes) / 2**20:.0f} MiB, at the end {sizes[-1] / 2**20:.0f} MiB")
    assert MODEL_BYTES < sizes[-1] < MODEL_BYTES + WORKER_BYTES
