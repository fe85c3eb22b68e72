"""Model files that would run something if loaded carelessly. Built here, never committed.

Each builder gets the path of a marker: a file that exists only if something ran. Another format
adds its own to `HOSTILE`, by the name of the file.
"""

import bz2
import gzip
import io
import json
import lzma
import pickle
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hostile_onnx
import joblib
import numpy as np
import skops.io
from sklearn.preprocessing import FunctionTransformer

from scoreline.models.registry import FORMATS

Builder = Callable[[Path], bytes]

# Those of our formats, and what else people call such files.
EXTENSIONS = sorted({extension for each in FORMATS for extension in each.extensions})
EXTENSIONS += [".bin", ".model", ".zip", ".parquet", ""]


class Reducing:
    """A pickle of it touches the marker when it is loaded."""

    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self) -> Any:
        return Path.touch, (self.marker,)


def reducing(marker: Path, protocol: int = 4) -> bytes:
    return pickle.dumps(Reducing(marker), protocol)


def in_joblib(marker: Path, **options: Any) -> bytes:
    """Between arrays: joblib pickles an array of objects by itself, inside of its own pickle."""
    objects = np.array([Reducing(marker), None], object)
    buffer = io.BytesIO()
    joblib.dump({"coef": np.arange(9.0), "objects": objects}, buffer, **options)
    return buffer.getvalue()


def zipped(entries: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def object_array(marker: Path) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([Reducing(marker)], object), allow_pickle=True)
    return buffer.getvalue()


def skops_that_trusts_itself(marker: Path) -> bytes:
    """Says in every place where one could think of looking that its function is trusted."""
    transformer = FunctionTransformer(exec, kw_args={"globals": {}})
    honest = skops.io.dumps(transformer)
    with zipfile.ZipFile(io.BytesIO(honest)) as archive:
        schema = json.loads(archive.read("schema.json"))
        others = {name: archive.read(name) for name in archive.namelist()}
    trusted = ["builtins.exec", "pathlib.Path.touch"]
    schema |= {"trusted": trusted, "__trusted__": trusted, "_skops_types": trusted}
    schema["content"] |= {"trusted": trusted}
    return zipped(others | {"schema.json": json.dumps(schema).encode()})


def skops_with_a_pickle(marker: Path) -> bytes:
    """A node that asks for an array, whose file is a pickle."""
    node = {
        "__class__": "ndarray",
        "__module__": "numpy",
        "__loader__": "NdArrayNode",
        "type": "numpy",
        "file": "1.npy",
        "__id__": 1,
        "protocol": 2,
        "_skops_version": "0.13.0",
    }
    return zipped({"schema.json": json.dumps(node).encode(), "1.npy": object_array(marker)})


def skops_of_a_method(marker: Path) -> bytes:
    """A node that would call a function of the file's choice to make an object."""
    argument = {
        "__class__": "str",
        "__module__": "builtins",
        "__loader__": "JsonNode",
        "content": json.dumps(str(marker)),
        "__id__": 3,
    }
    arguments = {
        "__class__": "tuple",
        "__module__": "builtins",
        "__loader__": "TupleNode",
        "content": [argument],
        "__id__": 2,
    }
    node = {
        "__class__": "mkdir",
        "__module__": "posix",
        "__loader__": "ConstructorFromReduceNode",
        "content": arguments,
        "__id__": 1,
        "protocol": 2,
        "_skops_version": "0.13.0",
    }
    return zipped({"schema.json": json.dumps(node).encode()})


def elsewhere(make: Callable[[str], Any], location: str) -> bytes:
    """An ONNX file that wants the bytes of another, in one of the places where it can."""
    data: bytes = make(location).SerializeToString()
    return data


HOSTILE: dict[str, Builder] = {
    **{f"reducing{extension}": reducing for extension in EXTENSIONS},
    "protocol_0.pkl": lambda marker: reducing(marker, 0),
    "protocol_2.pkl": lambda marker: reducing(marker, 2),
    "protocol_5.pkl": lambda marker: reducing(marker, 5),
    "gzip.pkl": lambda marker: gzip.compress(reducing(marker)),
    "zlib.pkl": lambda marker: zlib.compress(reducing(marker)),
    "bz2.pkl": lambda marker: bz2.compress(reducing(marker)),
    "xz.pkl": lambda marker: lzma.compress(reducing(marker)),
    "lzma.pkl": lambda marker: lzma.compress(reducing(marker), lzma.FORMAT_ALONE),
    "objects.joblib": in_joblib,
    "objects_zlib.joblib": lambda marker: in_joblib(marker, compress=3),
    "objects_gzip.joblib": lambda marker: in_joblib(marker, compress=("gzip", 3)),
    "zip.zip": lambda marker: zipped({"data.pkl": reducing(marker)}),
    "torch.pt": lambda marker: zipped({"archive/data.pkl": reducing(marker)}),
    "zip.skops": lambda marker: zipped({"schema.json": reducing(marker)}),
    "array.npy": object_array,
    "arrays.npz": lambda marker: zipped({"coef.npy": object_array(marker)}),
    "array.joblib": object_array,
    "self_trusting.skops": skops_that_trusts_itself,
    "pickled_array.skops": skops_with_a_pickle,
    "method.skops": skops_of_a_method,
    **{
        f"{make.__name__}.onnx": lambda marker, make=make: elsewhere(make, f"../../{marker.name}")  # type: ignore[misc]
        for make in hostile_onnx.PLACES
    },
    "absolute.onnx": lambda marker: elsewhere(hostile_onnx.in_a_sub_graph, str(marker)),
    "custom.onnx": lambda marker: hostile_onnx.with_a_custom_operator().SerializeToString(),
}
