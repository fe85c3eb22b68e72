"""Damages model files, and sees what becomes of a process that reads them.

A format's test hands a good file to `check_damaged`:

    def test_damaged_files():
        check_damaged(FORMAT, Artifact("m.tree", data), rows, mutations=40)

Each damaged file is described, loaded and scored with in another process, many files one after the
other: if that process dies or hangs, the file is noted, and the next one gets a new process.
"""

import json
import random
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa

_SEED = 20_240_607
_MUTATION_SECS = 20  # for one file; each takes milliseconds
_SPARE_BYTES = 8 * 2**30
LOADED, REFUSED = "loaded", "refused"


def damage(data: bytes, number: int) -> bytes:
    """The damaged file of a number: cut short, bits flipped, bytes lost, added or overwritten."""
    rng = random.Random(f"{_SEED} {number}")
    out = bytearray(data)
    where = rng.randrange(len(out))
    kind = number % 6
    if kind == 0:
        del out[where:]
    elif kind == 1:
        for _ in range(rng.choice([1, 1, 2, 8, 64])):
            place = rng.randrange(len(out))
            out[place] ^= 1 << rng.randrange(8)
    elif kind == 2:
        del out[where : where + rng.choice([1, 4, 100])]
    elif kind == 3:
        out[where:where] = rng.choice([b"\0", b"\xff" * 8, b"9" * 9, rng.randbytes(16)])
    elif kind == 4:
        width = rng.choice([1, 4, 8])
        out[where : where + width] = rng.choice([b"\xff", b"\x7f", b"\0"]) * width
    else:
        other = rng.randrange(len(out))
        out[where : where + 16] = out[other : other + 16]
    return bytes(out)


def check_damaged(
    format_: Any,
    artifact: Any,
    rows: pa.RecordBatch | None = None,
    *,
    mutations: int,
    outputs: tuple[str, ...] = ("predict",),
    features: tuple[str, ...] | None = None,
) -> Counter[str]:
    """Asserts that no damaged file gets past the checks with anything but an error of ours.

    A crash or a hang is right only where the library is machine code, and if trying the file in a
    process of its own finds it. Returns how often each end was met.
    """
    ends = run(format_.name, artifact, rows, mutations, outputs, features)
    strange = {number: end for number, end in ends.items() if end not in (LOADED, REFUSED)}
    for number, end in strange.items():
        assert format_.is_native, f"damaged file {number}: {end}"
        assert not end.startswith("error "), f"damaged file {number}: {end}"
        assert _is_found(format_, artifact, number, outputs, features), (
            f"damaged file {number}: {end}, and trying it in a process of its own does not tell"
        )
    return Counter(end.split(" ")[0] for end in ends.values())


def _is_found(format_: Any, artifact: Any, number: int, outputs: Any, features: Any) -> bool:
    from scoreline.models.artifact import Artifact
    from scoreline.models.errors import ModelError
    from scoreline.models.probe import load_apart
    from scoreline.models.trust import Trust

    damaged = Artifact(artifact.uri, damage(artifact.data, number))
    try:
        load_apart(format_, damaged, Trust(allow_pickle=True), outputs, features)
    except ModelError:
        return True
    return False


def run(
    name: str,
    artifact: Any,
    rows: pa.RecordBatch | None,
    mutations: int,
    outputs: tuple[str, ...],
    features: tuple[str, ...] | None,
) -> dict[int, str]:
    """What becomes of each damaged file, by its number."""
    with tempfile.TemporaryDirectory() as folder:
        good, table = Path(folder) / "good", Path(folder) / "rows"
        good.write_bytes(artifact.data)
        if rows is not None:
            with pa.OSFile(str(table), "wb") as file, pa.ipc.new_stream(file, rows.schema) as ipc:
                ipc.write_batch(rows)
        given = {
            "format": name,
            "uri": artifact.uri,
            "good": str(good),
            "rows": str(table) if rows is not None else None,
            "outputs": outputs,
            "features": features,
            "path": sys.path,
            "mutations": mutations,
        }
        ends: dict[int, str] = {}
        while len(ends) < mutations:
            ends |= _one_process(given, start=len(ends))
    return ends


def _one_process(given: dict[str, Any], start: int) -> dict[int, str]:
    done = subprocess.run(
        [sys.executable, "-I", __file__, json.dumps(given | {"start": start})],
        capture_output=True,
        timeout=150,
        check=False,
    )
    lines = [line.split(" ", 1) for line in done.stdout.decode(errors="replace").splitlines()]
    ends = {int(number): end for number, end in lines if number.isdigit()}
    if done.returncode != 0 or not ends:
        after = start + len(ends)
        if done.returncode > 0 and not ends:
            raise RuntimeError(done.stderr.decode(errors="replace")[-2_000:])
        is_hang = done.returncode == -signal.SIGALRM
        ends[after] = "hang" if is_hang else f"crash {done.returncode}"
    return ends


# --- in a process of its own ---------------------------------------------------------------------


def main() -> None:
    import os
    import resource
    import types
    import warnings

    given = json.loads(sys.argv[1])
    sys.path[:] = given["path"]
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    # The package without its __init__, which would import all of Beam.
    folder = str(Path(__file__).resolve().parents[2] / "models")
    for name, folders in (("scoreline", []), ("scoreline.models", [folder])):
        sys.modules[name] = types.ModuleType(name)
        sys.modules[name].__path__ = folders  # type: ignore[attr-defined]
    warnings.simplefilter("ignore")
    good = Path(given["good"]).read_bytes()
    limit = _SPARE_BYTES + 12 * len(good)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    rows = None
    if given["rows"]:
        rows = pa.ipc.open_stream(given["rows"]).read_next_batch()
    for number in range(given["start"], given["mutations"]):
        signal.alarm(_MUTATION_SECS)
        end = _end_of(given, damage(good, number), rows)
        signal.alarm(0)
        replies.write(f"{number} {end}\n")
    os._exit(0)


def _end_of(given: dict[str, Any], data: bytes, rows: pa.RecordBatch | None) -> str:
    from scoreline.models.artifact import Artifact
    from scoreline.models.errors import ContractError, ModelError
    from scoreline.models.registry import format_of, load_format
    from scoreline.models.trust import Trust

    artifact = Artifact(given["uri"], data)
    features = tuple(given["features"]) if given["features"] else None
    with suppress(Exception):  # that is caught where it is called for
        format_of(artifact).describe(artifact)
    try:
        format_ = format_of(artifact)
        trust = Trust(allow_pickle=True)
        model = load_format(format_, artifact, trust, tuple(given["outputs"]), features)
    except (ModelError, ContractError):
        return REFUSED
    except Exception as error:
        return f"error {type(error).__name__}: {' '.join(str(error).split())[:200]}"
    if rows is not None:
        try:
            model.score(rows)
        except Exception:  # that becomes dead letters
            return LOADED
    return LOADED


if __name__ == "__main__":
    main()
