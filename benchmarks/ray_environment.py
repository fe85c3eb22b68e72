"""Turns nothing into a Python environment that holds Ray Data, outside the checkout.

Ray and Beam disagree about their dependencies, so the alternative gets an environment of its own,
made on first use and kept for later runs. It has the project's own versions of everything that
touches the data or the model, so that the same file and the same model are read by the same code.

Run it alone to make the environment ahead of a benchmark::

    python benchmarks/ray_environment.py
"""

import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

RAY_VERSION = "2.60.0"
CONSTRAINTS = Path(__file__).parent.parent / "constraints.txt"
INSTALL_SECS = 1800  # a first installation downloads about 250 MB

# What reads the file, holds the columns or is the model: at scoreline's own versions.
_SHARED = ("joblib", "numpy", "pandas", "pyarrow", "scikit-learn", "scipy", "threadpoolctl")


def directory() -> Path:
    """Returns where the environment lies: the user's cache, never the checkout."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "scoreline" / f"ray-{RAY_VERSION}"


def requirements(constraints: str) -> list[str]:
    """Turns the text of constraints.txt into what the environment installs.

    Raises:
        ValueError: a shared package has no exact version there.
    """
    pins = dict(re.findall(r"^([A-Za-z0-9._-]+)==(\S+)$", constraints, re.M))
    absent = [name for name in _SHARED if name not in pins]
    if absent:
        raise ValueError(f"constraints.txt needs an exact version of {absent}")
    return [f"ray[data]=={RAY_VERSION}", *(f"{name}=={pins[name]}" for name in _SHARED)]


def ensure() -> Path:
    """Returns the environment's Python, after making the environment where it is not there yet.

    A marker with the installed requirements is written last: an interrupted installation or
    another set of versions is made anew.
    """
    root = directory()
    python, marker = root / "bin" / "python", root / "installed.txt"
    wanted = requirements(CONSTRAINTS.read_text())
    if marker.exists() and marker.read_text().split() == wanted:
        return python
    print(f"making {root} for Ray {RAY_VERSION} (once, a few minutes)", file=sys.stderr, flush=True)
    shutil.rmtree(root, ignore_errors=True)
    venv.create(root, with_pip=True)
    install = [str(python), "-m", "pip", "install", "--quiet", *wanted]
    subprocess.run(install, check=True, timeout=INSTALL_SECS, stdout=sys.stderr)
    marker.write_text("\n".join(wanted) + "\n")
    return python


if __name__ == "__main__":
    print(ensure())
