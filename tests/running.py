"""What tests of whole commands share: a table, and a look at what a command has left."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

_RUN_ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{6}")
NUMBERS = ("a", "b", "c")


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


def numbers(rows: int, seed: int = 0) -> pa.Table:
    """A table of three float columns and an id."""
    rng = np.random.default_rng(seed)
    columns: dict[str, Any] = {name: rng.normal(size=rows) for name in NUMBERS}
    return pa.table({**columns, "id": np.arange(rows)})


def alike(values: list[Any]) -> pa.Table:
    """A table whose three columns hold the same values."""
    return pa.table(dict.fromkeys(NUMBERS, values))


def write(path: Path, table: pa.Table, **options: Any) -> Path:
    """Writes a Parquet file, with the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, **options)
    return path


def files_below(folder: Path) -> list[str]:
    """All files and empty folders below a folder, without the parts of names that vary."""
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_file() or not any(path.iterdir()):
            found.append(_RUN_ID.sub("RUN", path.relative_to(folder).as_posix()))
    return found
