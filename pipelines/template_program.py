"""What the launcher of the Dataflow template starts: parameters become a command of scoreline.

With a job file that is `scoreline run`, with each other parameter as a `--set`; without one it is
`scoreline score`. So a job from the template is the job that the command would submit.
"""

import json
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .arguments import arities, split_arguments
from .cli import console
from .errors import ExitCode, UsageError
from .template_flags import program_parser
from .template_parameters import JOB_FILE, parameters

# The image knows its own name from a build argument: workers must run what the launcher runs.
IMAGE_VARIABLE = "SCORELINE_IMAGE"

# Where a job file says what a parameter says; {} is the key by which a place of that kind is named.
_KEYS = {
    "input": "source.{}",
    "model": "model.uri",
    "outputs": "model.outputs",
    "input_format": "source.format",
    "output": "sinks.0.{}",
    "keep": "sinks.0.keep",
    "report": "report.path",
    "dead_letters": "dead_letters.{}",
    "max_dead_letter_ratio": "dead_letters.max_ratio",
    "allow_pickle": "model.trust.allow_pickle",
    "sha256": "model.trust.sha256",
    "skops_types": "model.trust.skops_types",
    "allow_code": "model.trust.allow_code",
    "max_latency_secs": "max_latency_secs",
    "types": "source.types",
}
_FLAGS_OF_RUN = ("overwrite",)
_LISTS = ("outputs", "keep", "skops_types")


@dataclass(frozen=True)
class Given:
    """What somebody gave to a template.

    Attributes:
        values: of the parameters that say something, by name, in the order of the form.
        beam: flags of Beam's, in the order in which they came.
    """

    values: Mapping[str, str]
    beam: tuple[str, ...]


def program() -> None:
    """Runs what the launcher asks for, and ends the process with its exit code."""
    words = sys.argv[1:]
    if {"-h", "--help"} & set(words):
        program_parser().print_help()
        return
    try:
        command = command_of(read_parameters(words))
    except UsageError as error:
        sys.stderr.write(f"scoreline: {error}\n")
        sys.exit(ExitCode.USAGE)
    sys.stderr.write(f"scoreline {shlex.join(command)}\n")  # so that a person can repeat it
    console(command)


def read_parameters(words: Sequence[str]) -> Given:
    """Turns the launcher's words into what was given.

    Raises:
        UsageError: a flag that neither we nor Beam know, or a value of the wrong form.
    """
    arguments = split_arguments(words, arities(program_parser()))
    return Given(values_of(arguments.ours), tuple(arguments.beam))


def values_of(tokens: Sequence[str]) -> dict[str, str]:
    """Turns flags that are parameters, `--x=v` or `--x`, into the values that say something.

    A form sends its defaults and its empty fields, too: they say nothing.

    Raises:
        UsageError: a value of the wrong form, a parameter twice, or too little for a job.
    """
    values: dict[str, str] = {}
    for token in tokens:
        flag, equals, value = token.partition("=")
        name = flag.lstrip("-").replace("-", "_")
        value = value if equals else "true"
        if value in ("", parameters()[name].default):
            continue
        if name in values:
            raise UsageError(
                f"{flag}: a template takes one, got {values[name]!r} and {value!r}. Name several "
                "in a job file."
            )
        parameters()[name].check(value)
        values[name] = value
    _check_complete(values)
    return {name: values[name] for name in parameters() if name in values}


def _check_complete(values: Mapping[str, str]) -> None:
    missing = [name for name in ("input", "model", "output") if name not in values]
    if missing and JOB_FILE not in values:
        raise UsageError(
            f"expected {', '.join(missing)}: a job needs an input, a model and an output, or a "
            f"{JOB_FILE} that names them"
        )


def command_of(given: Given) -> list[str]:
    """Turns what was given into the words of a command of scoreline.

    >>> command_of(Given({"job_file": "gs://b/j.yaml", "keep": "id"}, ()))
    ['run', 'gs://b/j.yaml', '--set=sinks.0.keep=["id"]']
    """
    image = os.environ.get(IMAGE_VARIABLE, "")
    beam = [*given.beam]
    if image and not any(word.startswith("--sdk_container_image=") for word in beam):
        beam.append(f"--sdk_container_image={image}")
    job_file = given.values.get(JOB_FILE)
    if job_file is None:
        return ["score", *(f"{_flag(name)}={value}" for name, value in given.values.items()), *beam]
    return ["run", job_file, *_settings(given.values), *beam]


def _settings(values: Mapping[str, str]) -> list[str]:
    words: list[str] = []
    for name, value in values.items():
        if name in _FLAGS_OF_RUN:
            words.append(f"{_flag(name)}={value}")
        elif name != JOB_FILE:
            words += _set(_KEYS[name], _plain(name, value))
    return words


def _set(key: str, value: object) -> list[str]:
    """The words that set a key of a job; of a place, its kind and what that kind calls it."""
    if not key.endswith("{}"):
        return [f"--set={key}={json.dumps(value)}"]
    kind, name, address = _place(str(value), is_source=key.startswith("source"))
    return [
        f"--set={key.format('type')}={json.dumps(kind)}",
        f"--set={key.format(name)}={json.dumps(address)}",
    ]


def _place(uri: str, *, is_source: bool) -> tuple[str, str, str]:
    """The type of a source or sink, the key for its name, its name."""
    if uri.startswith("pubsub://"):
        key = "subscription" if is_source else "topic"
        return "pubsub", key, uri.removeprefix("pubsub://")
    if uri.startswith("bq://"):
        return "bigquery", "table", uri.removeprefix("bq://")
    return "files", "path", uri


def _plain(name: str, value: str) -> object:
    """The value as a job file holds it."""
    field = parameters()[name].field
    if name in _LISTS:
        return [word.strip() for word in value.split(",")]
    if name == "types":
        return dict(pair.split("=", 1) for pair in value.split(","))
    if field.param_type == "NUMBER":
        return float(value)
    return value == "true" if field.param_type == "BOOLEAN" else value


def _flag(name: str) -> str:
    return parameters()[name].flag
