"""Whether a published template is one that this version of scoreline would make."""

import json
from pathlib import Path
from typing import Any

from scoreline import __version__

from .errors import UsageError
from .near import near_file
from .template_spec import check_image, container_spec

_MAX_BYTES = 2**20


def check_spec(path: str) -> str:
    """Says of a template's file what it is.

    Raises:
        UsageError: a line for each thing that does not fit.
    """
    spec = _read(path)
    problems = [*_not_the_services(spec), *_not_ours(spec)]
    if problems:
        raise UsageError("\n".join(f"{path}: {problem}" for problem in problems))
    environment = spec.get("defaultEnvironment", {})
    defaults = {key: value for key, value in environment.items() if key != "sdkContainerImage"}
    lines = [
        path,
        f"  image       {spec['image']}",
        f"  parameters  {len(spec['metadata']['parameters'])}, those of scoreline {__version__}",
        *(f"  default     {key} {json.dumps(value)}" for key, value in defaults.items()),
    ]
    return "\n".join(lines)


def _read(path: str) -> dict[str, Any]:
    try:
        spec = json.loads(_text(path))
    except ValueError as error:
        raise UsageError(f"{path} is no JSON: {error}") from None
    if not isinstance(spec, dict):
        raise UsageError(f"{path}: expected a JSON object with image and metadata")
    return spec


def _text(path: str) -> str:
    if "://" in path:
        from scoreline.transforms.storage import open_file  # imports Beam

        try:
            with open_file(path) as file:
                return str(file.read(_MAX_BYTES), "utf-8")
        except Exception as error:  # each file system has errors of its own
            raise UsageError(f"cannot read {path}: {error}{near_file(path)}") from None
    if not Path(path).is_file():
        raise UsageError(f"no template {path}. scoreline template build makes one.")
    return Path(path).read_bytes()[:_MAX_BYTES].decode("utf-8")


def _not_the_services(spec: dict[str, Any]) -> list[str]:
    """What Dataflow's own type of message refuses: unknown names, wrong types."""
    from google.cloud.dataflow_v1beta3.types import ContainerSpec
    from google.protobuf.json_format import ParseDict, ParseError

    try:
        ParseDict(spec, ContainerSpec.pb(ContainerSpec()))
    except ParseError as error:
        return [f"Dataflow would not understand it: {error}"]
    return []


def _not_ours(spec: dict[str, Any]) -> list[str]:
    """Where it differs from what `template build` writes."""
    problems = []
    image = spec.get("image", "")
    try:
        check_image(image)
        wanted = container_spec(image, {})
    except UsageError as error:
        return [f"image: {str(error).removeprefix('--image').lstrip(': ')}"]
    if spec.get("sdkInfo") != wanted["sdkInfo"]:
        problems.append(f"sdkInfo: expected {wanted['sdkInfo']}, got {spec.get('sdkInfo')}")
    workers = spec.get("defaultEnvironment", {}).get("sdkContainerImage")
    if workers != image:
        problems.append(
            f"defaultEnvironment.sdkContainerImage: expected the launcher's image, got {workers}: "
            "workers would lack what the launcher has"
        )
    return problems + _differences(spec.get("metadata") or {}, wanted["metadata"])


def _differences(found: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    theirs = {one.get("name"): one for one in found.get("parameters", [])}
    ours = {one["name"]: one for one in wanted["parameters"]}
    again = f"scoreline {__version__} would make another: build and publish it anew"
    problems = [f"the parameter {name} is missing; {again}" for name in ours if name not in theirs]
    problems += [f"the parameter {name} is unknown; {again}" for name in theirs if name not in ours]
    for name in (name for name in ours if name in theirs):
        keys = sorted({*ours[name], *theirs[name]})
        changed = [key for key in keys if ours[name].get(key) != theirs[name].get(key)]
        if changed:
            problems.append(f"the parameter {name} differs in {', '.join(changed)}; {again}")
    return problems
