"""Beam's flags as the service and gcloud call them, for a job that a launcher will start.

Flags that a template's environment has no field for are passed on as they are: the launcher appends
them to the program's words.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from .errors import UsageError
from .runner_profiles import given_flags

DATAFLOW = "DataflowRunner"
_PRIVATE = "WORKER_IP_PRIVATE"

# Why a flag cannot be given to a template.
_REFUSED = {
    "template_location": "the launcher says where the job goes",
    "dataflow_job_file": "the launcher says where the job goes",
    "streaming": "whether the job is a stream follows from its input",
    "setup_file": "the image holds all that a job needs; installing at each launch takes minutes",
    "requirements_file": "the image holds all that a job needs; installing at each launch takes "
    "minutes",
    "extra_package": "the image holds all that a job needs",
    "extra_packages": "the image holds all that a job needs",
    "save_main_session": "the main session holds nothing that a worker needs",
    "no_wait_until_finish": "the launcher never waits",
}
# What is said elsewhere: of the call, not of the job's environment.
_OF_THE_CALL = ("runner", "project", "region", "job_name", "update", "transform_name_mapping")


@dataclass(frozen=True)
class _Setting:
    """What one of Beam's flags is called elsewhere.

    Attributes:
        field: of the template's environment.
        gcloud: the flag of `gcloud dataflow flex-template run`; None if it has none.
        value: turns the flag's value into the field's.
        is_list: whether several values come, with commas between or as several flags.
    """

    field: str
    gcloud: str | None
    value: Callable[[str], Any] = str
    is_list: bool = False


def _flag_only(field: str, gcloud: str, value: Any) -> _Setting:
    return _Setting(field, gcloud, lambda _: value)


_LABELS = _Setting("additionalUserLabels", "--additional-user-labels", is_list=True)
_EXPERIMENTS = _Setting("additionalExperiments", "--additional-experiments", is_list=True)
_SETTINGS = {
    "num_workers": _Setting("numWorkers", "--num-workers", int),
    "max_num_workers": _Setting("maxWorkers", "--max-workers", int),
    "machine_type": _Setting("machineType", "--worker-machine-type"),
    "worker_machine_type": _Setting("machineType", "--worker-machine-type"),
    "service_account_email": _Setting("serviceAccountEmail", "--service-account-email"),
    "staging_location": _Setting("stagingLocation", "--staging-location"),
    "temp_location": _Setting("tempLocation", "--temp-location"),
    "network": _Setting("network", "--network"),
    "subnetwork": _Setting("subnetwork", "--subnetwork"),
    "dataflow_kms_key": _Setting("kmsKeyName", "--dataflow-kms-key"),
    "worker_region": _Setting("workerRegion", "--worker-region"),
    "worker_zone": _Setting("workerZone", "--worker-zone"),
    "no_use_public_ips": _flag_only("ipConfiguration", "--disable-public-ips", _PRIVATE),
    "enable_streaming_engine": _flag_only(
        "enableStreamingEngine", "--enable-streaming-engine", value=True
    ),
    "flexrs_goal": _Setting("flexrsGoal", "--flexrs-goal", "FLEXRS_{}".format),
    "sdk_container_image": _Setting("sdkContainerImage", None),
    "disk_size_gb": _Setting("diskSizeGb", None, int),
    "labels": _LABELS,
    "label": _LABELS,
    "experiments": _EXPERIMENTS,
    "experiment": _EXPERIMENTS,
}


def check_flags(beam_flags: Sequence[str], *, is_call: bool) -> None:
    """Checks that flags can be given to a template.

    Args:
        beam_flags: each `--flag=value` or `--flag`.
        is_call: whether a job is started; else a template is made, which is for many jobs.

    Raises:
        UsageError: which cannot, and why.
    """
    for name, value in given_flags(beam_flags).items():
        if name in _REFUSED:
            raise UsageError(f"--{name}: {_REFUSED[name]}; leave the flag out")
        if name == "runner" and value != DATAFLOW:
            raise UsageError(f"--runner={value}: a template runs on Dataflow; leave the flag out")
        if name in _OF_THE_CALL and name != "runner" and not is_call:
            raise UsageError(f"--{name}: whoever starts the template says it; leave the flag out")


def environment_of(beam_flags: Sequence[str]) -> dict[str, Any]:
    """Turns Beam's flags into the default environment of a template, as its file holds it.

    Raises:
        UsageError: a flag that cannot be given, or a value that is none.

    >>> environment_of(["--max_num_workers=5", "--experiments=a,b"])
    {'maxWorkers': 5, 'additionalExperiments': ['a', 'b']}
    """
    check_flags(beam_flags, is_call=False)
    environment: dict[str, Any] = {}
    for name, value in _pairs(beam_flags):
        setting = _SETTINGS.get(name)
        if setting is None:
            environment.setdefault("additionalPipelineOptions", []).append(_option(name, value))
        elif setting is _LABELS:
            environment.setdefault(setting.field, {}).update(_labels(value))
        elif setting.is_list:
            environment.setdefault(setting.field, []).extend((value or "").split(","))
        else:
            environment[setting.field] = _converted(setting, name, value)
    return environment


def gcloud_flags(beam_flags: Sequence[str]) -> list[str]:
    """Turns Beam's flags into those of `gcloud dataflow flex-template run`.

    Raises:
        UsageError: a flag that cannot be given, or a value that is none.

    >>> gcloud_flags(["--max_num_workers=5", "--region=r", "--profile_cpu"])
    ['--max-workers=5', '--region=r', '--additional-pipeline-options=profile_cpu']
    """
    check_flags(beam_flags, is_call=True)
    words: list[str] = []
    for name, value in _pairs(beam_flags):
        words += _words_of_call(name, value) if name in _OF_THE_CALL else _words(name, value)
    return words


def _words(name: str, value: str | None) -> list[str]:
    setting = _SETTINGS.get(name)
    if setting is None or setting.gcloud is None:
        return [f"--additional-pipeline-options={in_one_item(_option(name, value))}"]
    if setting is _LABELS:
        return [f"{setting.gcloud}={in_one_item(f'{k}={v}')}" for k, v in _labels(value).items()]
    if value is None:
        return [setting.gcloud]
    _converted(setting, name, value)  # a wrong number is found here, not in minutes
    return [f"{setting.gcloud}={value}"]


def _words_of_call(name: str, value: str | None) -> list[str]:
    if name == "update":
        return ["--update"]
    if name == "transform_name_mapping":
        mapping = _json_object(name, value or "")
        pairs = (in_one_item(f"{old}={new}") for old, new in mapping.items())
        return [f"--transform-name-mappings={pair}" for pair in pairs]
    return [f"--{name}={value}"] if name in ("project", "region") else []


def in_one_item(text: str) -> str:
    """Writes one item of gcloud's lists and mappings so that a comma in it divides nothing.

    >>> in_one_item("keep=id,amount")
    '^;^keep=id,amount'
    """
    if "," not in text and not text.startswith("^"):
        return text
    delimiter = ";"
    while delimiter in text:
        delimiter += ";"
    return f"^{delimiter}^{text}"


def _pairs(beam_flags: Iterable[str]) -> Iterator[tuple[str, str | None]]:
    """Each flag's name and value; a flag that stands alone has none."""
    for word in beam_flags:
        name, equals, value = word.lstrip("-").partition("=")
        if name != "runner":
            yield name, value if equals else None


def _option(name: str, value: str | None) -> str:
    return name if value is None else f"{name}={value}"


def _converted(setting: _Setting, name: str, value: str | None) -> Any:
    try:
        return setting.value(value or "")
    except ValueError:
        raise UsageError(f"--{name}: expected a whole number, got {value!r}") from None


def _labels(value: str | None) -> dict[str, str]:
    """Labels as Beam takes them: `key=value`, or a JSON object of several."""
    if value and value.startswith("{"):
        return {str(key): str(inner) for key, inner in _json_object("labels", value).items()}
    key, equals, inner = (value or "").partition("=")
    if not key or not equals:
        raise UsageError(f"--labels: expected key=value, got {value!r}")
    return {key: inner}


def _json_object(name: str, text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise UsageError(f"--{name}: expected a JSON object, got {text!r}")
    return found
