"""Shows that it was imported: the environment says in which file."""

import os
from pathlib import Path
from typing import Any

Path(os.environ["MARKER"]).touch()


def predict(batch: Any) -> Any:
    return batch.column(0)


def handler() -> Any:
    raise AssertionError("this must not be called")
