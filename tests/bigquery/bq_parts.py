"""The emulator of BigQuery: installed once in an environment of its own, outside the checkout.

    python tests/bigquery/bq_parts.py    # installs it if it is missing, and prints where it is

It needs other versions of libraries than scoreline has, and an extension of DuckDB that it would
download at its first start.
"""

import shutil
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))  # where this is run as a program

from cached_parts import Part, make_all, run

BQEMULATOR_VERSION = "1.4.0"
DUCKDB_VERSION = "1.5.5"
COMMAND = "python tests/bigquery/bq_parts.py"

_WANTED = (
    f"bqemulator=={BQEMULATOR_VERSION}",
    "numpy",
    f"duckdb=={DUCKDB_VERSION}",
    f"duckdb-extension-spatial=={DUCKDB_VERSION}",
)
_PLATFORM = "import duckdb; print(duckdb.sql('PRAGMA platform').fetchone()[0])"


def python_of(folder: Path) -> Path:
    """The interpreter of the emulator's environment."""
    return folder / "bin" / "python"


def home_of(folder: Path) -> Path:
    """The home folder in which DuckDB finds its extension."""
    return folder / "home"


def _make(path: Path) -> None:
    run([sys.executable, "-m", "venv", "--without-pip", str(path)])
    python = str(python_of(path))
    words = ["-m", "pip", "--python", python, "install", "--quiet", "--disable-pip-version-check"]
    run([sys.executable, *words, *_WANTED])
    (extension,) = path.rglob("duckdb_extension_spatial/extensions/*/spatial.duckdb_extension")
    platform = run([python, "-c", _PLATFORM]).strip()
    home = home_of(path) / ".duckdb" / "extensions" / f"v{DUCKDB_VERSION}" / platform
    home.mkdir(parents=True)
    shutil.move(extension, home)


EMULATOR = Part(
    "BigQuery emulator",
    f"bqemulator-{BQEMULATOR_VERSION}-duckdb-{DUCKDB_VERSION}",
    (),
    _make,
    COMMAND,
)


if __name__ == "__main__":
    sys.exit(make_all([EMULATOR]))
