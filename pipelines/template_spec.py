"""The files by which Dataflow knows the template: made from the parameters, never by hand."""

import json
import re
from pathlib import Path
from typing import Any

from scoreline import __version__

from .errors import UsageError
from .template_parameters import AUTO, Parameter, parameters

SPEC, METADATA = "scoreline.json", "metadata.json"

# host[:port]/path[:tag][@digest]; a tag has no slash.
_IMAGE = re.compile(
    r"[a-z0-9][^\s@]*?(?::(?P<tag>[\w][\w.-]{0,127}))?(?P<digest>@sha256:[0-9a-f]{64})?"
)
_DESCRIPTION = (
    "Scores files, a BigQuery table or a Pub/Sub subscription with a trained model. Every row is "
    "predicted, or rejected with its reason."
)
_AUTO_LABEL = "Tell it from the input"


def metadata() -> dict[str, Any]:
    """The form, as `gcloud dataflow flex-template build --metadata-file` takes it.

    `streaming` is not said: one template starts both batch jobs and streams, by their input. Both
    modes of streams are supported: what a stream does, it does at least once in either.
    """
    return {
        "name": "scoreline",
        "description": f"{_DESCRIPTION} scoreline {__version__}.",
        "supportsAtLeastOnce": True,
        "supportsExactlyOnce": True,
        "parameters": [_described(parameter) for parameter in parameters().values()],
    }


def container_spec(image: str, environment: dict[str, Any]) -> dict[str, Any]:
    """What is published: the image, the form, what a job has unless whoever starts it says more.

    Args:
        image: of the launcher; workers run the same.
        environment: defaults of the job's runtime environment.

    Raises:
        UsageError: the image is no name, or one that may mean another image tomorrow.
    """
    check_image(image)
    return {
        "image": image,
        "sdkInfo": {"language": "PYTHON"},
        "defaultEnvironment": {"sdkContainerImage": image, **environment},
        "metadata": metadata(),
    }


def check_image(image: str) -> None:
    """Raises UsageError unless an image is named by a tag other than latest, or by its digest."""
    found = _IMAGE.fullmatch(image)
    if found is None or "/" not in image:
        raise UsageError(
            f"--image: expected an image such as europe-docker.pkg.dev/PROJECT/REPOSITORY/"
            f"scoreline:{__version__}, got {image!r}"
        )
    if not found["digest"] and found["tag"] in (None, "latest"):
        raise UsageError(
            f"--image {image}: expected a tag other than latest, or a digest (@sha256:...). Else "
            "launcher and workers could run different images."
        )


def write_files(folder: str, files: dict[str, dict[str, Any]], *, overwrite: bool) -> list[str]:
    """Writes JSON documents into a folder, local or of an object store; gives their paths.

    Raises:
        UsageError: one of them is there already.
    """
    paths = [f"{folder.rstrip('/')}/{name}" for name in files]
    if "://" in folder:
        from scoreline.transforms.storage import exists, write_text  # imports Beam
    else:
        exists, write_text = _exists_here, _write_here
    there = [path for path in paths if exists(path)]
    if there and not overwrite:
        raise UsageError(f"{there[0]} exists. Replace it with --overwrite, or choose --output.")
    for path, document in zip(paths, files.values(), strict=True):
        write_text(path, json.dumps(document, indent=2) + "\n")
    return paths


def _exists_here(path: str) -> bool:
    return Path(path).exists()


def _write_here(path: str, text: str) -> None:
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(text, "utf-8")
    except OSError as error:
        raise UsageError(f"--output: cannot write {path}: {error.strerror}") from None


def _described(parameter: Parameter) -> dict[str, Any]:
    """One parameter as the service's ParameterMetadata; none is required, see `values_of`."""
    described: dict[str, Any] = {
        "name": parameter.name,
        "label": parameter.field.label,
        "helpText": parameter.help_text,
        "isOptional": True,
        "groupName": parameter.field.group,
        "paramType": parameter.field.param_type,
    }
    if parameter.regexes:
        described["regexes"] = parameter.regexes
    if parameter.choices:
        described["enumOptions"] = [_choice(word) for word in parameter.choices]
    if parameter.default is not None:
        described["defaultValue"] = parameter.default
    return described


def _choice(word: str) -> dict[str, str]:
    return {"value": word, "label": _AUTO_LABEL if word == AUTO else word}
