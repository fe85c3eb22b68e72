"""A stand-in for the launcher of Flex templates, whose source is closed.

It does what is known of the real one: it reads the template's file, holds the parameters against
the form, and makes the words that the program is called with: a flag for each parameter and for
each field of the environment, in no promised order.
"""

import json
import random
import re
from typing import Any

from fake_dataflow import BUCKET, FakeCloud

JOB_OBJECT = f"gs://{BUCKET}/staging/template_launches/1/job_object"

# What the launcher calls a field of the environment.
_FLAGS = {
    "sdkContainerImage": "sdk_container_image",
    "maxWorkers": "max_num_workers",
    "numWorkers": "num_workers",
    "machineType": "machine_type",
    "tempLocation": "temp_location",
    "stagingLocation": "staging_location",
    "serviceAccountEmail": "service_account_email",
    "subnetwork": "subnetwork",
}


class LaunchError(Exception):
    """The service refuses a launch."""


def words_of(cloud: FakeCloud, number: int = -1) -> list[str]:
    """The words that the program is called with for a launch that the fake has recorded.

    Raises:
        LaunchError: the form does not have a parameter, or not this value.
    """
    project, region, body = cloud.launches[number]
    launch = body["launchParameter"]
    spec = template_of(cloud, launch["containerSpecGcsPath"])
    parameters: dict[str, str] = launch.get("parameters", {})
    _check(spec["metadata"]["parameters"], parameters)
    environment = {**spec.get("defaultEnvironment", {}), **_given(launch.get("environment", {}))}
    words = [
        "--runner=DataflowRunner",
        f"--project={project}",
        f"--region={region}",
        f"--job_name={launch['jobName']}",
        f"--template_location={JOB_OBJECT}",
        *(f"--{name}={value}" for name, value in parameters.items()),
        *_environment(environment),
    ]
    random.Random(number).shuffle(words)
    return words


def template_of(cloud: FakeCloud, path: str) -> dict[str, Any]:
    """The template's file."""
    found: dict[str, Any] = json.loads(cloud.store.get(path))
    return found


def _check(form: list[dict[str, Any]], parameters: dict[str, str]) -> None:
    known = {one["name"]: one for one in form}
    for name, value in parameters.items():
        if name not in known:
            raise LaunchError(f"unrecognized parameter: {name}")
        for expression in known[name].get("regexes", ()):
            if not re.search(expression, value):
                raise LaunchError(f"{name}: {value!r} does not match {expression}")
    missing = [one["name"] for one in form if not one.get("isOptional")]
    if set(missing) - set(parameters):
        raise LaunchError(f"missing: {missing}")


def _given(environment: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value for name, value in environment.items() if value not in (None, False, [], {})
    }


def _environment(environment: dict[str, Any]) -> list[str]:
    words = []
    for name, value in environment.items():
        if name == "additionalPipelineOptions":
            words += [f"--{option}" for option in value]
        elif name == "additionalExperiments":
            words += [f"--experiments={experiment}" for experiment in value]
        elif name == "additionalUserLabels":
            words += [f"--labels={key}={inner}" for key, inner in value.items()]
        else:
            words.append(f"--{_FLAGS[name]}={value}")
    return words
