"""The real kustomize, which turns the folders of templates/flink into manifests.

    python tests/templates/kustomize.py templates/flink/example/cluster

It is built by `go install`, once, into the user's cache under a name with its version.
"""

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

VERSION = "v5.8.1"  # it asks for Go 1.24, its successors for newer ones
_MODULE = f"sigs.k8s.io/kustomize/kustomize/v5@{VERSION}"
_BUILD_SECS = 900.0  # one or two minutes on two cores
_RENDER_SECS = 60.0


def program() -> Path:
    """Where it is, or will be."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return root / "scoreline" / f"kustomize-{VERSION}"


def missing() -> str | None:
    """Why it is not here, although it was tried to build it; None if it is."""
    try:
        ensure()
    except (OSError, RuntimeError, subprocess.TimeoutExpired) as error:
        advice = "install Go (https://go.dev/doc/install)" if not shutil.which("go") else str(error)
        return f"no kustomize here: put one at {program()}, or: {advice}"
    return None


def ensure() -> Path:
    """Gives the program, which is built if it is not there: by one process at a time.

    Raises:
        RuntimeError: it could not be built, with what Go said.
    """
    path = program()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f".{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            _build(path)
    return path


def _build(path: Path) -> None:
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        ended = subprocess.run(
            ["go", "install", _MODULE],
            env=os.environ | {"GOBIN": folder},
            capture_output=True,
            text=True,
            timeout=_BUILD_SECS,
        )
        if ended.returncode:
            raise RuntimeError(f"go install {_MODULE}: {ended.stderr[-2_000:]}")
        (Path(folder) / "kustomize").rename(path)


def render(folder: Path) -> list[dict[str, Any]]:
    """The manifests that a folder stands for.

    Raises:
        RuntimeError: kustomize refuses the folder.
    """
    words = [str(ensure()), "build", str(folder)]
    ended = subprocess.run(words, capture_output=True, text=True, timeout=_RENDER_SECS)
    if ended.returncode or ended.stderr:  # what it only warns of is a mistake as well
        raise RuntimeError(f"kustomize build {folder}: {ended.stderr}")
    return list(yaml.safe_load_all(ended.stdout))


if __name__ == "__main__":
    print(yaml.safe_dump_all(render(Path(sys.argv[1])), sort_keys=False))
