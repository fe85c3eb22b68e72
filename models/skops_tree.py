"""What a `.skops` file holds, read from its schema; nothing of it is made or imported."""

import io
import json
import zipfile
from typing import Any

import numpy as np

from .artifact import Artifact
from .errors import ModelError
from .pickle_scan import Array, Thing

_MAX_SCHEMA_BYTES = 256 * 2**20
_MAX_BYTES = 16 * 2**30  # of all that is in the archive, unpacked
_MAX_ARRAY_BYTES = 2**20  # of an array that is worth reading: names and classes, not weights
_MAX_DEPTH = 30


def check_size(artifact: Artifact) -> None:
    """Raises ModelError for an archive that unpacks to more than any model: a zip bomb."""
    with zipfile.ZipFile(io.BytesIO(artifact.data)) as archive:
        schema = archive.getinfo("schema.json").file_size
        whole = sum(entry.file_size for entry in archive.infolist())
    if schema > _MAX_SCHEMA_BYTES or whole > _MAX_BYTES:
        raise ModelError(
            f"model {artifact.uri} has {len(artifact.data):,} bytes but unpacks to {whole:,}, of "
            f"which its schema has {schema:,}: expected at most {_MAX_BYTES:,} and "
            f"{_MAX_SCHEMA_BYTES:,}. It is no model that anybody saved."
        )


def skops_tree(artifact: Artifact) -> Any:
    """Turns a `.skops` file into `Thing`s, as a scan of a pickle does.

    Raises:
        ModelError: the file is damaged, or larger unpacked than any model is.
    """
    try:
        check_size(artifact)
        with zipfile.ZipFile(io.BytesIO(artifact.data)) as archive:
            return _value(json.loads(archive.read("schema.json")), archive, _MAX_DEPTH)
    except ModelError:
        raise
    except Exception as error:  # whatever a damaged file provokes
        raise ModelError(
            f"cannot read model {artifact.uri}: {type(error).__name__}: {error}. The file may be "
            "cut short, or no model at all."
        ) from error


def _value(node: Any, archive: zipfile.ZipFile, depth: int) -> Any:
    if depth == 0 or not isinstance(node, dict):
        return None
    loader: Any = node.get("__loader__")
    content: Any = node.get("content")
    if loader == "JsonNode":
        return json.loads(content)
    if loader in ("ListNode", "TupleNode", "SetNode"):
        return [_value(each, archive, depth - 1) for each in content]
    if loader == "DictNode":
        return {key: _value(each, archive, depth - 1) for key, each in content.items()}
    if loader == "NdArrayNode":
        return _array(node, archive, depth)
    thing = Thing(f"{node.get('__module__')}.{node.get('__class__')}")
    if isinstance(content, dict):
        thing.state = _value(content, archive, depth - 1)
    return thing


def _array(node: dict[str, Any], archive: zipfile.ZipFile, depth: int) -> Array:
    if node.get("type") == "json":
        values = [_value(each, archive, depth - 1) for each in node["content"]]
        return Array((len(values),), values)
    entry = archive.getinfo(node["file"])
    if entry.file_size > _MAX_ARRAY_BYTES:
        return Array((), None)
    array = np.load(io.BytesIO(archive.read(entry)), allow_pickle=False)
    return Array(array.shape, array.tolist() if array.ndim == 1 else None)
