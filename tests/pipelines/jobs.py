"""Job files for tests."""

from pathlib import Path
from typing import Any

import yaml


def write_job(model_file: Path, **changes: Any) -> str:
    """Writes `job.yaml` in the current folder: in.parquet to out, but for the changes."""
    job: dict[str, Any] = {
        "name": "tuesday",
        "source": {"path": "in.parquet"},
        "model": {"uri": str(model_file), "trust": {"allow_pickle": True}},
        "sinks": [{"path": "out"}],
    }
    Path("job.yaml").write_text(yaml.safe_dump(job | changes, sort_keys=False))
    return "job.yaml"
