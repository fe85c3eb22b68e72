"""Reads a model file in a process of its own, so that a file that crashes its reader harms nobody.

Two things are done there. A model whose library is machine code is loaded once before it is loaded
here: a damaged or crafted file can make such a library crash, hang or fill the memory, which no
`except` catches. And what a file says of itself is read there, for the same reason.

It is a check against accidents and crude attacks, no sandbox: a file that passes is loaded again by
whoever runs it. It costs the start of a Python with that library, about a second, so whoever starts
a job does it, and the workers do not.
"""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np
import pyarrow as pa

from .artifact import Artifact
from .contract import Contract, Kind
from .errors import ContractError, ModelError, UntrustedModelError
from .example import example_batch
from .restrict import Rule
from .trust import Trust

if TYPE_CHECKING:
    from .model_format import Description, ModelFormat

_MAX_SECS = 60.0  # to read a large model; most take a second
# Address space beside that of the model itself: of the libraries, of the threads that they start.
_SPARE_BYTES = 6 * 2**30
_BYTES_PER_CORE = 256 * 2**20
_TIMES_THE_FILE = 12  # a model in memory, as a multiple of its file
_MAX_SAID_CHARS = 300
_NUM_ROWS = 1_000  # made up, to score with a model once it is loaded

# It gets the folder of this package but not its __init__, which would import all of Beam.
_CHILD = """\
import json, sys, types
given = json.loads(sys.argv[1])
sys.path[:] = given["path"]
for name, folders in (("scoreline", []), ("scoreline.models", [given["folder"]])):
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = folders
from scoreline.models.probe import answer
answer(given)
"""
_ERRORS = {error.__name__: error for error in (ModelError, UntrustedModelError, ContractError)}


def load_apart(
    format_: "ModelFormat",
    artifact: Artifact,
    trust: Trust,
    outputs: tuple[str, ...],
    features: tuple[str, ...] | None,
) -> None:
    """Loads a model in a process of its own, and drops it.

    Raises:
        ModelError: the file crashes its library, or takes it too long or too much memory; or what
            loading it raised there.
        ContractError: as loading it raised there.
    """
    _ask(
        artifact,
        action="load",
        format=format_.name,
        trust=asdict(trust),
        outputs=outputs,
        features=features,
    )


def describe_apart(format_: "ModelFormat", artifact: Artifact) -> "Description":
    """What a file says of itself, read in a process of its own.

    Raises:
        ModelError: the file is damaged, crashes its reader, or takes it too long or too much
            memory.
    """
    from .model_format import Description

    said = _ask(artifact, action="describe", format=format_.name)
    rules = {name: Rule(**_with_tuples(rule)) for name, rule in said.pop("rules").items()}
    return Description(**_with_tuples(said), rules=rules)


def _with_tuples(values: dict[str, Any]) -> dict[str, Any]:
    """JSON has lists only."""
    return {
        key: tuple(value) if isinstance(value, list) else value for key, value in values.items()
    }


def _ask(artifact: Artifact, **request: Any) -> dict[str, Any]:
    given = {
        **request,
        "uri": artifact.uri,
        "path": sys.path,
        "folder": str(Path(__file__).parent),
        "max_bytes": _max_bytes(len(artifact.data)),
    }
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-c", _CHILD, json.dumps(given)],
            input=artifact.data,
            capture_output=True,
            timeout=_MAX_SECS,
            check=False,
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )
    except subprocess.TimeoutExpired:
        raise ModelError(
            f"model {artifact.uri} was not read within {_MAX_SECS:g} s. It may be damaged, or made "
            "to hang its reader."
        ) from None
    except OSError as error:
        raise ModelError(f"cannot start a process to read model {artifact.uri}: {error}") from error
    return _answer_of(artifact, done)


def _answer_of(artifact: Artifact, done: subprocess.CompletedProcess[bytes]) -> dict[str, Any]:
    try:
        answer = json.loads(done.stdout)
        error, result = answer["error"], answer["result"]
    except (ValueError, KeyError, TypeError):
        raise ModelError(
            f"model {artifact.uri} crashes the library that reads it ({_end(done)}). The file may "
            "be damaged or made for that; nothing of it was loaded here."
        ) from None
    if error is not None:
        raise _ERRORS.get(error, ModelError)(answer["message"])
    return dict(result)


def _end(done: subprocess.CompletedProcess[bytes]) -> str:
    if done.returncode < 0:
        with suppress(ValueError):
            return signal.Signals(-done.returncode).name
    said = done.stderr.decode(errors="replace").strip().rpartition("\n")[2][:_MAX_SAID_CHARS]
    return f"exit code {done.returncode}{': ' + said if said else ''}"


def _max_bytes(file_bytes: int) -> int:
    cores = os.cpu_count() or 1
    return _SPARE_BYTES + cores * _BYTES_PER_CORE + _TIMES_THE_FILE * file_bytes


# --- in the process of its own -----------------------------------------------------------------


def answer(given: dict[str, Any]) -> None:
    """Does what is asked, and prints one JSON document. Libraries may print what they like."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    _limit(given["max_bytes"])
    artifact = Artifact(given["uri"], sys.stdin.buffer.read())
    reply: dict[str, Any] = {"error": None, "message": "", "result": {}}
    try:
        reply["result"] = _result(given, artifact)
    except MemoryError:
        reply |= {"error": "ModelError", "message": _too_large(given)}
    except RecursionError as error:
        reply |= {"error": "ModelError", "message": f"cannot read model {artifact.uri}: {error}"}
    except Exception as error:  # ours, or whatever a library makes of a damaged file
        is_ours = type(error).__name__ in _ERRORS
        came = str(error) if is_ours else _unreadable(artifact, error)
        came = _too_large(given) if isinstance(error.__cause__, MemoryError) else came
        reply |= {"error": type(error).__name__ if is_ours else "ModelError", "message": came}
    _send(reply, replies)


def _result(given: dict[str, Any], artifact: Artifact) -> dict[str, Any]:
    from .registry import FORMATS, load_format

    (format_,) = [each for each in FORMATS if each.name == given["format"]]
    if given["action"] == "describe":
        return asdict(format_.describe(artifact))
    trust = Trust(**_with_tuples(given["trust"]))
    features = given["features"]
    model = load_format(
        format_,
        artifact,
        trust,
        tuple(given["outputs"]),
        tuple(features) if features is not None else None,
    )
    example = example_batch(_schema(model.contract))
    for rows in (example, _varied(example)):
        with suppress(Exception):  # whether it takes such rows is not the question
            model.score(rows)
    return {}


def _schema(contract: Contract) -> pa.Schema:
    """Columns that the contract may be content with: a damaged model may only crash on a row."""
    types: dict[Kind, pa.DataType] = {
        "number": pa.float64(),
        "text": pa.string(),
        "category": pa.string(),
        "any": pa.float64(),
        "tensor": pa.null(),
    }
    return pa.schema(
        [(feature.name, feature.type or types[feature.kind]) for feature in contract.features]
    )


def _varied(example: pa.RecordBatch) -> pa.RecordBatch:
    """Many rows with numbers of every size: they take other ways through trees than zeros do."""
    rng = np.random.default_rng(0)
    scales = 10.0 ** rng.integers(-3, 7, _NUM_ROWS)
    columns = [
        pa.array(rng.normal(size=_NUM_ROWS) * scales)
        if pa.types.is_float64(column.type)
        else column.take(pa.array(np.zeros(_NUM_ROWS, np.int64)))
        for column in example.columns
    ]
    return pa.RecordBatch.from_arrays(columns, example.schema.names)


def _send(reply: dict[str, Any], replies: TextIO) -> None:
    with replies:
        json.dump(reply, replies)
    os._exit(0)  # a library's threads may not end by themselves, and its destructors may crash


def _limit(max_bytes: int) -> None:
    """Bounds the address space where the system can; no core dump of somebody's model."""
    with suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (max_bytes, max_bytes))


def _too_large(given: dict[str, Any]) -> str:
    return (
        f"model {given['uri']} takes more than {given['max_bytes']:,} bytes of memory to read. It "
        "may be damaged, or made to fill the memory."
    )


def _unreadable(artifact: Artifact, error: Exception) -> str:
    came = f"{type(error).__name__}: {error}"[:_MAX_SAID_CHARS]
    return f"cannot read model {artifact.uri}: {came}"
