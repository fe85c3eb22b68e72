import pytest

from scoreline.pipelines.errors import UsageError
from scoreline.pipelines.runner_profiles import given_flags, is_remote_flink, profile_of

CLUSTER = ["--runner=FlinkRunner", "--flink_master=jobs.example:8081"]


def values(flags: list[str], **options: object) -> dict[str, str]:
    profile = profile_of(flags, **{"is_stream": True, **options})  # type: ignore[arg-type]
    return {setting.flag: setting.value for setting in profile.settings}


def test_a_bare_flag_is_true() -> None:
    assert given_flags(["--streaming", "--parallelism=2"]) == {
        "streaming": "true",
        "parallelism": "2",
    }


def test_in_process_nothing_is_set() -> None:
    for flags in ([], ["--runner=DirectRunner"], ["--runner=FnApiRunner"]):
        profile = profile_of(flags, is_stream=True)
        assert profile.is_in_process
        assert profile.added_flags == []


def test_a_stream_on_a_flink_cluster() -> None:
    profile = profile_of(
        CLUSTER, is_stream=True, max_latency_secs=0.1, flink_version="1.19", default_parallelism=2
    )
    assert profile.added_flags == [
        "--streaming",
        "--checkpointing_interval=1000",
        "--max_bundle_time_mills=100",
        "--flink_version=1.19",
        "--flink_submit_uber_jar",
        "--environment_type=EXTERNAL",
        "--environment_config=localhost:50000",
    ]
    assert all(setting.reason for setting in profile.settings)
    assert profile.num_readers == 2
    assert profile.acknowledged == "when a checkpoint completes"
    assert profile.cluster_url == "http://jobs.example:8081"


def test_a_batch_on_a_flink_cluster_has_no_checkpoints() -> None:
    assert values(CLUSTER, is_stream=False) == {
        "flink_submit_uber_jar": "true",
        "environment_type": "EXTERNAL",
        "environment_config": "localhost:50000",
    }


def test_flink_in_this_process_has_its_workers_here() -> None:
    for flags in (["--runner=FlinkRunner"], ["--runner=FlinkRunner", "--flink_master=[local]"]):
        assert not is_remote_flink(given_flags(flags))
        assert values(flags, is_stream=False) == {"environment_type": "LOOPBACK"}


@pytest.mark.parametrize(("secs", "millis"), [(0.001, "20"), (0.25, "250"), (30.0, "1000")])
def test_bundles_last_as_long_as_the_latency_that_is_wanted(secs: float, millis: str) -> None:
    assert values(CLUSTER, max_latency_secs=secs)["max_bundle_time_mills"] == millis


def test_prism_and_a_job_server() -> None:
    assert values(["--runner=PrismRunner"]) == {
        "streaming": "true",
        "environment_type": "LOOPBACK",
    }
    near = ["--runner=PortableRunner", "--job_endpoint=localhost:8099"]
    assert values(near, is_stream=False) == {"environment_type": "LOOPBACK"}
    far = ["--runner=PortableRunner", "--job_endpoint=jobs.example:8099"]
    assert values(far)["environment_config"] == "localhost:50000"
    assert values(far)["checkpointing_interval"] == "1000"


def test_every_value_gives_way_to_the_flag() -> None:
    given = [
        "--streaming",
        "--checkpointing_interval=5000",
        "--max_bundle_time_mills=7",
        "--flink_version=1.20",
        "--flink_submit_uber_jar=false",
        "--environment_type=PROCESS",
        "--parallelism=3",
    ]
    profile = profile_of([*CLUSTER, *given], is_stream=True, flink_version="1.19")
    assert profile.added_flags == []
    assert profile.value("checkpointing_interval") == "5000"
    assert profile.value("environment_config") is None
    assert {setting.reason for setting in profile.settings} == {"as given"}
    assert profile.num_readers == 3


def test_an_unknown_runner() -> None:
    with pytest.raises(UsageError, match=r"no such runner; did you mean FlinkRunner\? Expected"):
        profile_of(["--runner=FlinkRuner"], is_stream=False)
    assert profile_of(["--runner=my.package.Runner"], is_stream=False).runner == "my.package.Runner"


@pytest.mark.parametrize("value", ["0", "-1", "soon"])
def test_a_stream_without_checkpoints_is_refused(value: str) -> None:
    with pytest.raises(UsageError, match="acknowledges its messages when a checkpoint completes"):
        profile_of([*CLUSTER, f"--checkpointing_interval={value}"], is_stream=True)
    profile_of([*CLUSTER, f"--checkpointing_interval={value}"], is_stream=False)


def test_a_parallelism_that_is_no_number() -> None:
    with pytest.raises(UsageError, match="--parallelism=two: expected a whole number"):
        profile_of([*CLUSTER, "--parallelism=two"], is_stream=True)
