import argparse
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType

import apache_beam
import pytest
from apache_beam.options import pipeline_options
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability.api import beam_job_api_pb2
from apache_beam.runners import render
from apache_beam.runners.portability.portable_runner import JobServiceHandle

from scoreline.pipelines.arguments import split_arguments
from scoreline.pipelines.beam_flags import BEAM_FLAGS, FLINK_FLAGS, Arity

SNAPSHOT_OF: tuple[ModuleType, ...] = (pipeline_options, render)

# They cannot be imported without dask and jinja2.
LEFT_OUT = {"apache_beam.runners.dask.dask_runner", "apache_beam.yaml.options"}


def subclasses(cls: type[PipelineOptions]) -> Iterator[type[PipelineOptions]]:
    for child in cls.__subclasses__():
        yield child
        yield from subclasses(child)


def actions() -> Iterator[argparse.Action]:
    modules = {module.__name__ for module in SNAPSHOT_OF}
    for cls in subclasses(PipelineOptions):
        if cls.__module__ in modules:  # other tests may define option classes of their own
            parser = pipeline_options._BeamArgumentParser(add_help=False)
            cls._add_argparse_args(parser)
            yield from parser._actions


def arity(action: argparse.Action) -> Arity:
    if action.nargs == 0:
        return Arity.STORE_TRUE if action.const else Arity.STORE_FALSE
    # nargs="?" of --update_compatibility_version: without its value it says nothing.
    assert action.nargs in (None, "?"), f"{action.option_strings}: nargs={action.nargs!r} is new"
    return Arity.VALUE if type(action) is argparse._StoreAction else Arity.VALUES


def flags_of_installed_beam() -> dict[str, Arity]:
    return {
        "--" + name.removeprefix("--").replace("-", "_"): arity(action)
        for action in actions()
        for name in action.option_strings
    }


def differences(snapshot: Mapping[str, Arity], installed: Mapping[str, Arity]) -> list[str]:
    return [
        *(f"missing: {name} ({installed[name]})" for name in sorted(installed - snapshot.keys())),
        *(f"superfluous: {name}" for name in sorted(snapshot.keys() - installed)),
        *(
            f"{name}: expected {installed[name]}, the snapshot has {snapshot[name]}"
            for name in sorted(snapshot.keys() & installed)
            if snapshot[name] is not installed[name]
        ),
    ]


def test_the_snapshot_is_what_the_installed_beam_knows() -> None:
    found = differences(BEAM_FLAGS, flags_of_installed_beam())
    assert not found, f"Beam {apache_beam.__version__}, in pipelines/beam_flags.py:\n" + "\n".join(
        found
    )


def test_a_difference_is_named() -> None:
    snapshot = {"--same": Arity.VALUE, "--old": Arity.VALUE, "--other": Arity.VALUE}
    installed = {"--same": Arity.VALUE, "--new": Arity.VALUES, "--other": Arity.STORE_TRUE}
    assert differences(snapshot, installed) == [
        "missing: --new (Arity.VALUES)",
        "superfluous: --old",
        "--other: expected Arity.STORE_TRUE, the snapshot has Arity.VALUE",
    ]


def test_no_module_of_beam_with_option_classes_is_overlooked() -> None:
    root = Path(apache_beam.__file__).parent
    definition = re.compile(rb"^class \w+\((\w+\.)?PipelineOptions\):", re.MULTILINE)
    found = set()
    for path in root.rglob("*.py"):
        name = ("apache_beam", *path.relative_to(root).with_suffix("").parts)
        is_shipped = not (name[-1].endswith("_test") or {"examples", "testing"} & {*name})
        if is_shipped and definition.search(path.read_bytes()):
            found.add(".".join(name))
    # An integration test of Beam's that its name does not show.
    found.discard("apache_beam.io.requestresponse_it_test")
    assert found == {module.__name__ for module in SNAPSHOT_OF} | LEFT_OUT


def test_all_spellings_have_underscores_only() -> None:
    names = [*BEAM_FLAGS, *FLINK_FLAGS]
    assert [name for name in names if not re.fullmatch("--[a-z0-9_]+", name)] == []


def test_flinks_own_flags_are_those_that_python_beam_does_not_know() -> None:
    assert BEAM_FLAGS.keys().isdisjoint(FLINK_FLAGS)
    assert "--checkpointing_interval" in FLINK_FLAGS


@pytest.mark.parametrize("table", [BEAM_FLAGS, FLINK_FLAGS])
def test_the_tables_are_read_only(table: Mapping[str, Arity]) -> None:
    with pytest.raises(TypeError):
        table["--new"] = Arity.VALUE  # type: ignore[index]


class FakeJobServer:
    """Describes Flink's options to Python as Beam's Java job server does."""

    def DescribePipelineOptions(
        self, request: object, timeout: float
    ) -> beam_job_api_pb2.DescribePipelineOptionsResponse:
        types = beam_job_api_pb2.PipelineOptionType
        return beam_job_api_pb2.DescribePipelineOptionsResponse(
            options=[
                beam_job_api_pb2.PipelineOptionDescriptor(
                    name=name[2:],
                    type=types.STRING if arity.takes_value else types.BOOLEAN,
                    default_value="true" if arity is Arity.ON_BY_DEFAULT else "false",
                )
                for name, arity in FLINK_FLAGS.items()
            ]
        )


class FakeUberJarJobServer:
    """Describes nothing, as what FlinkRunner starts for an uber jar."""

    def DescribePipelineOptions(
        self, request: object, timeout: float
    ) -> beam_job_api_pb2.DescribePipelineOptionsResponse:
        return beam_job_api_pb2.DescribePipelineOptionsResponse()


def options_that_flink_gets(*argv: str) -> dict[str, object]:
    flags = split_arguments(argv, {}).beam
    is_uber_jar = "--flink_submit_uber_jar" in flags
    handle = JobServiceHandle(
        FakeUberJarJobServer() if is_uber_jar else FakeJobServer(),
        PipelineOptions(flags),
        retain_unknown_options=is_uber_jar,
    )
    sent = handle.get_pipeline_options()
    return {name.split(":")[2]: value for name, value in sent.items()}


@pytest.mark.parametrize(
    "way", [["--flink_master=[local]"], ["--flink_submit_uber_jar", "--flink_master=host:8081"]]
)
def test_flink_gets_the_values_that_the_user_wrote(way: list[str]) -> None:
    sent = options_that_flink_gets(
        "--operator_chaining=false",
        "--attached_mode=true",
        "--object-reuse=true",
        "--faster_copy=false",
        "--checkpoint-timeout-millis",
        "-1",
        "--state_backend=rocksdb",
        *way,
    )
    assert sent["operator_chaining"] in (False, "false")  # Java reads both as false
    assert sent.get("attached_mode", True) is True
    assert sent["object_reuse"] is True
    assert sent.get("faster_copy", False) is False
    assert sent["checkpoint_timeout_millis"] == "-1"
    assert sent["state_backend"] == "rocksdb"
