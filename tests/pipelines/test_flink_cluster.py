from collections.abc import Iterator

import pytest
from fake_flink import FakeFlink

from scoreline.pipelines import flink_cluster as module
from scoreline.pipelines.flink_cluster import FlinkCluster, FlinkError


@pytest.fixture
def fake() -> Iterator[FakeFlink]:
    fake = FakeFlink().start()
    yield fake
    fake.stop()


def test_a_master_is_named_with_or_without_a_scheme() -> None:
    assert FlinkCluster.at(" jobs.example:8081/ ").url == "http://jobs.example:8081"
    assert FlinkCluster.at("https://jobs.example").url == "https://jobs.example"


def test_what_a_cluster_says_of_itself(fake: FakeFlink) -> None:
    cluster = FlinkCluster.at(fake.master)
    assert cluster.version() == "1.19.3"
    assert cluster.slots() == (2, 2, 2)
    assert cluster.default_parallelism() == 2
    fake.answers["/v1/jobmanager/config"] = []
    assert cluster.default_parallelism() == 1


def test_the_newest_job_of_a_name_is_found(
    fake: FakeFlink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_POLL_SECS", 0.01)
    cluster = FlinkCluster.at(fake.master)
    with pytest.raises(FlinkError, match="has no job named scoreline-r1"):
        cluster.job_named("scoreline-r1", 0.05)
    jobs = [
        {"name": "scoreline-r1", "jid": "old", "start-time": 1},
        {"name": "scoreline-r1", "jid": "new", "start-time": 2},
        {"name": "another", "jid": "x", "start-time": 3},
    ]
    fake.answers["/v1/jobs/overview"] = {"jobs": jobs}
    assert cluster.job_named("scoreline-r1") == "new"


def test_a_job_is_waited_for_through_a_restart_of_the_cluster(
    fake: FakeFlink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_POLL_SECS", 0.01)
    states = iter([{"state": "RUNNING"}, None, {"state": "RESTARTING"}, {"state": "FINISHED"}])

    class Answers(dict):  # type: ignore[type-arg]
        def get(self, _path: str, _default: object = None) -> object:
            return next(states)

    fake.answers = Answers()
    assert FlinkCluster.at(fake.master).wait("j") == "FINISHED"


def test_a_cluster_that_is_silent_for_long_is_given_up(
    fake: FakeFlink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_POLL_SECS", 0.01)
    monkeypatch.setattr(module, "_SILENCE_SECS", 0.05)
    with pytest.raises(FlinkError, match=r"does not answer: HTTP Error 404"):
        FlinkCluster.at(fake.master).wait("j")


def test_why_a_job_failed(fake: FakeFlink) -> None:
    cluster = FlinkCluster.at(fake.master)
    entries = [{"stacktrace": "the last"}, {"stacktrace": "the first"}]
    fake.answers["/v1/jobs/j/exceptions"] = {"exceptionHistory": {"entries": entries}}
    assert cluster.cause("j") == "the last"
    fake.answers["/v1/jobs/j/exceptions"] = {}
    assert cluster.cause("j") == ""


def test_a_job_is_cancelled(fake: FakeFlink) -> None:
    fake.answers["/v1/jobs/j?mode=cancel"] = {}
    FlinkCluster.at(fake.master).cancel("j")
    assert fake.asked[-1] == ("PATCH", "/v1/jobs/j?mode=cancel")


def test_nobody_answers() -> None:
    with pytest.raises(FlinkError, match=r"http://127\.0\.0\.1:9 does not answer: .*refused"):
        FlinkCluster.at("127.0.0.1:9").version()
