"""From Pub/Sub through a Flink cluster, while messages keep coming: nothing is lost, whatever dies.

Flink acknowledges what a checkpoint covers, so what was written and not yet covered at a sudden end
is scored twice: at most so many seconds of the publisher's rate.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from cluster import Cluster
from emulator import Emulator
from flink_streams import RATE, Traffic
from submitted import Submission

Start = Callable[..., Submission]

pytestmark = pytest.mark.timeout(300)

# A bundle of a stream on Flink lasts 5 s, and waits for a checkpoint, which come each second.
MAX_DUPLICATED_SECS = 15.0


@pytest.fixture
def traffic(emulator: Emulator, start: Start, workdir: Path) -> Iterator[Traffic]:
    traffic = Traffic(emulator, start, workdir)
    yield traffic
    traffic.close()


def started(cluster: Cluster, traffic: Traffic, *flags: str) -> tuple[Submission, str]:
    """A stream that scores what is published, and its job."""
    known = cluster.rest.jobs()
    stream = traffic.score(*cluster.flags(*flags))
    job = cluster.rest.wait_for_job(known)
    traffic.publish()
    traffic.wait_for_more(stream, 400)  # what has gathered while the job started
    before = cluster.rest.checkpoints(job)["counts"]["completed"]
    traffic.wait_for_more(stream, 600)
    # Until the backlog is acknowledged, a kill would have all of it scored twice.
    wait_for(lambda: cluster.rest.checkpoints(job)["counts"]["completed"] >= before + 3)
    return stream, job


def wait_for(condition: Callable[[], object], secs: float = 90.0) -> None:
    """Waits until something is so."""
    deadline = time.monotonic() + secs
    while not condition():
        assert time.monotonic() < deadline, f"not within {secs:g} s"
        time.sleep(0.2)


def check_end(traffic: Traffic, stream: Submission, title: str, times: int = 1) -> None:
    """Ends the publisher, and the stream by SIGTERM; holds what came out against what went in."""
    published = traffic.stop_publishing()
    traffic.wait_for_all(stream, published)
    stream.signal(signal.SIGTERM)
    ended = stream.wait(90)
    assert ended.code == 0, ended.err
    traffic.read()
    most = round(RATE * MAX_DUPLICATED_SECS * times)
    traffic.account.check(published, max_duplicates=most, title=title)
    assert traffic.left() == 0


def test_a_worker_that_is_killed(cluster: Cluster, traffic: Traffic) -> None:
    stream, job = started(cluster, traffic)
    workers = cluster.workers()  # one of an earlier job may still be on its way out
    for worker in workers:
        with suppress(ProcessLookupError):
            os.kill(worker, signal.SIGKILL)
    wait_for(lambda: cluster.rest.exceptions(job))
    traffic.wait_for_more(stream, 1_000)
    assert not set(workers) & set(cluster.workers())
    check_end(traffic, stream, "a worker killed")


def test_a_taskmanager_that_is_killed_and_replaced(cluster: Cluster, traffic: Traffic) -> None:
    stream, job = started(cluster, traffic)
    pod = next(pod for pod in cluster.pods if pod.workers())
    pod.taskmanager.kill()
    time.sleep(3)
    cluster.replace_taskmanager(pod)
    wait_for(lambda: cluster.rest.exceptions(job))
    traffic.wait_for_more(stream, 1_000)
    check_end(traffic, stream, "a TaskManager killed")


def test_cancelled_and_submitted_afresh(cluster: Cluster, traffic: Traffic) -> None:
    stream, job = started(cluster, traffic)
    cluster.rest.cancel(job)
    assert stream.wait(60).code != 0
    stream = traffic.score(*cluster.flags())
    traffic.wait_for_more(stream, 1_000)
    check_end(traffic, stream, "cancelled")


def test_stopped_with_a_savepoint_and_submitted_afresh(cluster: Cluster, traffic: Traffic) -> None:
    stream, job = started(cluster, traffic)
    cluster.rest.stop(job)
    stream.wait(60)
    stream = traffic.score(*cluster.flags())
    traffic.wait_for_more(stream, 1_000)
    check_end(traffic, stream, "stopped with a savepoint")


def test_drained_under_load(cluster: Cluster, traffic: Traffic) -> None:
    stream, job = started(cluster, traffic, "--parallelism=2")
    stream.signal(signal.SIGTERM)
    assert stream.wait(90).code == 0
    assert cluster.rest.state(job) in ("FINISHED", "CANCELED")
    stream = traffic.score(*cluster.flags("--parallelism=2"))
    traffic.wait_for_more(stream, 400)
    check_end(traffic, stream, "drained")
