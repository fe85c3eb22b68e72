"""Reads a job file: YAML, `${ENV}` for what must not stand in it, `--set` for this one run."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from .errors import UsageError

_MAX_BYTES = 2**20  # a job is a page of text
_MAX_NODES = 10_000  # with aliases written out: a few lines of YAML can stand for billions
_TAG = "tag:yaml.org,2002:"
_PLAIN_TAGS = {
    _TAG + name for name in ("map", "seq", "str", "int", "float", "bool", "null", "merge")
}
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


@dataclass(frozen=True)
class JobValues:
    """What a job file says.

    Attributes:
        values: with the variables filled in.
        variables: the name of each variable that was used, with its value. It is never written to
            a run folder, but as a part of a path where files or rows are named: in the intent
            (whoever rolls forward must find the files), the report's outputs, and row ids.
    """

    values: dict[str, Any]
    variables: dict[str, str]


def read_job_values(path: str, settings: Sequence[str] = ()) -> JobValues:
    """Turns a job file into plain values, with `--set a.b=c` applied and variables filled in.

    Raises:
        UsageError: no such file, no YAML, a tag, a key twice, too large, an unset variable.
    """
    values = _parse(path, _read(path))
    for setting in settings:
        _apply(values, setting)
    variables: dict[str, str] = {}
    return JobValues(_fill(values, "", variables), variables)


def hide(value: Any, variables: dict[str, str]) -> Any:
    """Puts `${NAME}` back in place of what a variable held, in every string of a value.

    >>> hide({"path": ["gs://b/s3cret"]}, {"TOKEN": "s3cret"})
    {'path': ['gs://b/${TOKEN}']}
    """
    if isinstance(value, dict):
        return {key: hide(inner, variables) for key, inner in value.items()}
    if isinstance(value, list):
        return [hide(inner, variables) for inner in value]
    if isinstance(value, str):
        for name, held in variables.items():
            value = value.replace(held, f"${{{name}}}") if held else value
    return value


def _read(path: str) -> str:
    if "://" in path:
        return _read_object(path)
    file = Path(path)
    if not file.is_file():
        folder = file.parent
        names = sorted(other.name for other in folder.glob("*.y*ml")) if folder.is_dir() else []
        near = get_close_matches(file.name, names, n=1)
        raise UsageError(
            f"no job file {path}{f'. Did you mean {folder / near[0]}?' if near else ''}"
        )
    if file.stat().st_size > _MAX_BYTES:
        raise UsageError(f"{path} has {file.stat().st_size:,} bytes; a job file has at most 1 MiB")
    return _decoded(path, file.read_bytes())


def _read_object(path: str) -> str:
    """The text of a job file in an object store, as a template's launcher gets one."""
    from scoreline.transforms.storage import open_file  # imports Beam: not for a local file

    try:
        with open_file(path) as file:
            content: bytes = file.read(_MAX_BYTES + 1)
    except Exception as error:  # each file system has errors of its own
        raise UsageError(f"cannot read the job file {path}: {error}") from None
    if len(content) > _MAX_BYTES:
        raise UsageError(f"{path} is larger than 1 MiB; a job file has at most that")
    return _decoded(path, content)


def _decoded(path: str, content: bytes) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is no UTF-8 text: {error}") from None


def _parse(path: str, text: str) -> dict[str, Any]:
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if not isinstance(node, yaml.MappingNode):
            raise UsageError(f"{path}: expected a mapping with source, model and sinks")
        _check_node(node, path, {}, ())
        values: dict[str, Any] = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(f"{path} is no valid YAML: {error}") from None
    except RecursionError:
        raise UsageError(f"{path} is nested too deeply") from None
    return values


def _check_node(node: yaml.Node, path: str, sizes: dict[int, int], above: tuple[int, ...]) -> int:
    """The size of a node with its aliases written out; raises for what a job file may not hold."""
    line = node.start_mark.line + 1
    if id(node) in above:
        raise UsageError(f"{path}, line {line}: an alias that contains itself")
    if id(node) in sizes:
        return sizes[id(node)]
    if node.tag not in _PLAIN_TAGS:
        raise UsageError(
            f"{path}, line {line}: the tag {node.tag.replace(_TAG, '!!')!r} is not allowed; a job "
            "file holds text, numbers, true and false, lists and mappings"
        )
    size = 1 + sum(
        _check_node(child, path, sizes, (*above, id(node))) for child in _children(node, path)
    )
    if size > _MAX_NODES:
        raise UsageError(f"{path}, line {line}: more than {_MAX_NODES:,} values, aliases counted")
    sizes[id(node)] = size
    return size


def _children(node: yaml.Node, path: str) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        repeated = sorted({key for key in keys if keys.count(key) > 1})
        if repeated:
            line = node.start_mark.line + 1
            raise UsageError(f"{path}, line {line}: the key {repeated[0]!r} stands twice")
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _apply(values: dict[str, Any], setting: str) -> None:
    """Sets one value, `a.b.0=c`; the value is read as YAML."""
    key, equals, text = setting.partition("=")
    if not equals or not key:
        raise UsageError(f"--set {setting}: expected a.b=value")
    target: Any = values
    *path, last = key.split(".")
    for part in path:
        target = _step(target, part, setting)
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(f"--set {setting}: the value is no YAML: {error}") from None
    if isinstance(target, list):
        target[_index(target, last, setting)] = value
    elif isinstance(target, dict):
        target[last] = value
    else:
        raise UsageError(f"--set {setting}: {'.'.join(path)} is a single value")


def _step(target: Any, part: str, setting: str) -> Any:
    if isinstance(target, list):
        return target[_index(target, part, setting)]
    if isinstance(target, dict):
        if target.get(part) is None:
            target[part] = {}
        return target[part]
    raise UsageError(f"--set {setting}: there is nothing below {part!r}'s parent, a single value")


def _index(target: list[Any], part: str, setting: str) -> int:
    if not part.isdigit() or int(part) >= len(target):
        raise UsageError(
            f"--set {setting}: expected a number from 0 to {len(target) - 1}, got {part!r}"
        )
    return int(part)


def _fill(value: Any, where: str, variables: dict[str, str]) -> Any:
    """Puts environment variables in place of `${NAME}`, in every string; notes which."""
    if isinstance(value, dict):
        return {
            key: _fill(inner, f"{where}.{key}".lstrip("."), variables)
            for key, inner in value.items()
        }
    if isinstance(value, list):
        return [_fill(inner, f"{where}.{index}", variables) for index, inner in enumerate(value)]
    if not isinstance(value, str):
        return value

    def held(match: re.Match[str]) -> str:
        name = match.group(1)
        if name not in os.environ:
            raise UsageError(f"{where}: the environment variable {name} is not set")
        variables[name] = os.environ[name]
        return variables[name]

    return _VARIABLE.sub(held, value)
