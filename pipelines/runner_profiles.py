"""What each runner needs to be told so that a job runs well on it, and why.

A user would otherwise have to find it out. Every value gives way to the runner's own flag.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .errors import UsageError
from .flink_cluster import LOCAL_MASTERS, FlinkCluster
from .near import near_name

if TYPE_CHECKING:
    from .job import Job

# Beam's DirectRunner first tries to download another runner; the in-process one is what it ends at.
IN_PROCESS = (None, "DirectRunner", "FnApiRunner")
FLINK, PRISM, PORTABLE = "FlinkRunner", "PrismRunner", "PortableRunner"
EMBEDDED = "embed"  # a job endpoint: Beam's own job server, in this process
DATAFLOW = "DataflowRunner"
ENGINES = (FLINK, PRISM, PORTABLE)
_KNOWN = ("DirectRunner", "FnApiRunner", *ENGINES, DATAFLOW, "SparkRunner")

# A checkpoint is when messages are acknowledged. Each self-checkpoint of a source leaves some
# state behind in Beam's Flink runner, so more of them would fill it sooner.
_CHECKPOINT_MILLIS = 1_000
_FLINK_BUNDLE_SECS = 5.0  # each bundle of a reader leaves 3.3 kB: benchmarks/flink_long.py
_MIN_BUNDLE_MILLIS, _MAX_BUNDLE_MILLIS = 20, 1_000
_POOL = "localhost:50000"  # where the side-car of a TaskManager's pod listens


@dataclass(frozen=True)
class Setting:
    """One of the runner's flags.

    Attributes:
        flag: without hyphens.
        value: as it is written.
        reason: why this value; of one that the user gave, that it was given.
        is_given: whether the user gave it.
    """

    flag: str
    value: str
    reason: str
    is_given: bool = False

    @property
    def token(self) -> str:
        """As a word of a command line."""
        return f"--{self.flag}" if self.value == "true" else f"--{self.flag}={self.value}"


@dataclass(frozen=True)
class RunnerProfile:
    """How a job is run.

    Attributes:
        runner: its name.
        settings: the flags that matter.
        num_readers: how many readers a stream's source is spread over.
        acknowledged: when a message of a stream is acknowledged.
        cluster_url: of a Flink cluster that is there already, `http://HOST:PORT`.
        bundle_secs: how long a reader's bundle lasts, where no sink says it: how often files are
            flushed, messages acknowledged and an idle reader asked. A second if None.
    """

    runner: str
    settings: tuple[Setting, ...] = ()
    num_readers: int = 1
    acknowledged: str = "when the bundle's sinks have flushed"
    cluster_url: str | None = None
    bundle_secs: float | None = None

    @property
    def is_in_process(self) -> bool:
        """Whether the runner and its workers are this very process."""
        return self.runner in IN_PROCESS

    @property
    def added_flags(self) -> list[str]:
        """The flags that the user did not give."""
        return [setting.token for setting in self.settings if not setting.is_given]

    def value(self, flag: str) -> str | None:
        """What a flag is set to; None if the runner decides."""
        return next((one.value for one in self.settings if one.flag == flag), None)


def profile_of(
    beam_flags: Sequence[str],
    *,
    is_stream: bool,
    max_latency_secs: float = 0.1,
    flink_version: str | None = None,
    default_parallelism: int = 1,
) -> RunnerProfile:
    """Finds the settings for a job on the runner that its flags name.

    Args:
        beam_flags: as the user gave them, each `--flag=value` or `--flag`.
        is_stream: whether the job reads messages.
        max_latency_secs: what the job wants.
        flink_version: of the cluster, where it was asked.
        default_parallelism: of the cluster.

    Raises:
        UsageError: no such runner, or settings with which a stream would lose or never
            acknowledge messages.
    """
    given = given_flags(beam_flags)
    runner = given.get("runner", "DirectRunner")
    if runner not in _KNOWN and "." not in runner:
        raise UsageError(
            f"--runner={runner}: no such runner{near_name(runner, _KNOWN) or '.'} Expected one of "
            f"{', '.join(_KNOWN)}, or the full name of a class."
        )
    if runner not in ENGINES:
        return RunnerProfile(runner)
    wanted = _STREAM[runner](given, max_latency_secs) if is_stream else []
    wanted += _ENVIRONMENT[runner](given, flink_version)
    settings = tuple(settled(one, given) for one in wanted)
    profile = RunnerProfile(
        runner,
        settings,
        _num_readers(runner, given, default_parallelism),
        "when a checkpoint completes" if runner == FLINK else "when the bundle is done",
        FlinkCluster.at(given["flink_master"]).url if is_remote_flink(given) else None,
        _FLINK_BUNDLE_SECS if runner == FLINK else None,
    )
    if is_stream and runner == FLINK:
        _check_checkpoints(profile)
    return profile


def ignored(job: "Job", runner: str) -> list[str]:
    """What a job says that only Dataflow can make use of, for a note."""
    if runner == DATAFLOW:
        return []
    named = [f"resources.{name}" for name in job.resources.hints]
    if job.is_stream and job.messages_source.id_label is not None:
        named.append("source.id_label")
    shown = "DirectRunner" if runner in IN_PROCESS else runner
    return [f"{name} is for Dataflow: ignored on {shown}" for name in named]


def given_flags(beam_flags: Sequence[str]) -> Mapping[str, str]:
    """Turns words of a command line into {flag: value}; a bare flag is `true`.

    >>> dict(given_flags(["--runner=FlinkRunner", "--streaming"]))
    {'runner': 'FlinkRunner', 'streaming': 'true'}
    """
    pairs = (word.lstrip("-").partition("=") for word in beam_flags)
    return {name: value if equals else "true" for name, equals, value in pairs}


def is_remote_flink(given: Mapping[str, str]) -> bool:
    """Whether the job goes to a cluster that is there already."""
    return (
        given.get("runner") == FLINK
        and given.get("flink_master", "[auto]").strip() not in LOCAL_MASTERS
    )


def settled(wanted: Setting, given: Mapping[str, str]) -> Setting:
    """What a flag is set to: as the user gave it, else as it is wanted."""
    if wanted.flag not in given:
        return wanted
    return Setting(wanted.flag, given[wanted.flag], "as given", is_given=True)


def _flink_stream(_given: Mapping[str, str], max_latency_secs: float) -> list[Setting]:
    millis = round(max(_MIN_BUNDLE_MILLIS, min(_MAX_BUNDLE_MILLIS, 1_000 * max_latency_secs)))
    return [
        Setting("streaming", "true", "messages come without an end"),
        Setting(
            "checkpointing_interval",
            str(_CHECKPOINT_MILLIS),
            "ms; messages are acknowledged when a checkpoint completes, never without one",
        ),
        Setting(
            "max_bundle_time_mills",
            str(millis),
            "from max_latency_secs: what waits for the end of a bundle waits no longer",
        ),
    ]


def _other_stream(_given: Mapping[str, str], _max_latency_secs: float) -> list[Setting]:
    return [Setting("streaming", "true", "messages come without an end")]


def _portable_stream(given: Mapping[str, str], max_latency_secs: float) -> list[Setting]:
    """Which engine is behind the job server nobody knows: those that are not Flink ignore them."""
    return _flink_stream(given, max_latency_secs)


def _flink_environment(given: Mapping[str, str], version: str | None) -> list[Setting]:
    settings = []
    if version is not None:
        settings.append(Setting("flink_version", version, "what the cluster says it is"))
    if not is_remote_flink(given):
        return [*settings, Setting("environment_type", "LOOPBACK", "the workers are this process")]
    settings.append(
        Setting("flink_submit_uber_jar", "true", "no job server to run, nor Java to have here")
    )
    return settings + _external(given, "the worker pool beside each TaskManager")


def _prism_environment(_given: Mapping[str, str], _version: str | None) -> list[Setting]:
    return [Setting("environment_type", "LOOPBACK", "the workers are this process")]


def _portable_environment(given: Mapping[str, str], _version: str | None) -> list[Setting]:
    endpoint = given.get("job_endpoint", "")
    if endpoint == EMBEDDED or endpoint.rpartition(":")[0] in ("localhost", "127.0.0.1", "[::1]"):
        return [Setting("environment_type", "LOOPBACK", "the job server is on this machine")]
    return _external(given, "the worker pool beside each worker of the engine")


def _external(given: Mapping[str, str], reason: str) -> list[Setting]:
    settings = [Setting("environment_type", "EXTERNAL", reason)]
    if given.get("environment_type", "EXTERNAL") == "EXTERNAL":
        settings.append(Setting("environment_config", _POOL, "where such a pool listens"))
    return settings


_STREAM = {FLINK: _flink_stream, PRISM: _other_stream, PORTABLE: _portable_stream}
_ENVIRONMENT = {
    FLINK: _flink_environment,
    PRISM: _prism_environment,
    PORTABLE: _portable_environment,
}


def _num_readers(runner: str, given: Mapping[str, str], default_parallelism: int) -> int:
    """One for each subtask: one source is read by one of them, whatever it is split into."""
    if runner == PRISM:
        return 1
    try:
        named = int(given.get("parallelism", "-1"))
    except ValueError:
        raise UsageError(f"--parallelism={given['parallelism']}: expected a whole number") from None
    return named if named > 0 else default_parallelism


def _check_checkpoints(profile: RunnerProfile) -> None:
    value = profile.value("checkpointing_interval") or ""
    if not value.lstrip("-").isdigit() or int(value) <= 0:
        raise UsageError(
            f"--checkpointing_interval={value}: a stream on Flink acknowledges its messages when a "
            "checkpoint completes, and without checkpoints never. Leave the flag out "
            f"({_CHECKPOINT_MILLIS} ms), or give a number of milliseconds above 0."
        )
