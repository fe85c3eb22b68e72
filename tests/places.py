"""What tests of streams share: topics and subscriptions of their own on an emulator."""

import json
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from emulator import Client


class Places:
    """A topic that is read, one for predictions, one for dead letters; a subscription of each.

    Args:
        client: of the emulator.
    """

    def __init__(self, client: Client):
        self.client = client
        name = uuid.uuid4().hex[:12]
        self.topic = client.create_topic(f"tx-{name}")
        self.subscription = client.create_subscription(f"scorer-{name}", self.topic)
        self.scores_topic = client.create_topic(f"scores-{name}")
        self._scores = client.create_subscription(f"scores-{name}", self.scores_topic, 600)
        self.dead_topic = client.create_topic(f"dead-{name}")
        self._dead = client.create_subscription(f"dead-{name}", self.dead_topic, 600)

    @property
    def uri(self) -> str:
        """Of the subscription, as a flag has it."""
        return f"pubsub://{self.subscription}"

    def publish(
        self, payloads: Sequence[bytes], attributes: Sequence[Mapping[str, str]] | None = None
    ) -> list[str]:
        """Publishes messages to be scored; gives their ids."""
        return self.client.publish(self.topic, payloads, attributes)

    def publish_rows(self, table: pa.Table) -> list[str]:
        """Publishes rows as JSON."""
        return self.publish([json.dumps(row).encode() for row in table.to_pylist()])

    def predictions(self) -> list[Any]:
        """The messages that were published as predictions."""
        return self.client.pull_all(self._scores, quiet_secs=0.3)

    def dead_letters(self) -> list[Any]:
        """The messages that were published as dead letters."""
        return self.client.pull_all(self._dead, quiet_secs=0.3)

    def left(self) -> list[Any]:
        """The messages that nobody has acknowledged or leased."""
        return self.client.pull_all(self.subscription, quiet_secs=0.3)

    def write_job(self, model_file: Path, **changes: Any) -> str:
        """Writes `job.yaml` in the current folder: the subscription to `out`, but for changes."""
        job: dict[str, Any] = {
            "name": "live",
            "source": {
                "type": "pubsub",
                "subscription": self.subscription,
                "types": {"id": "int64"},
                "stop_when_idle_secs": 0.3,
            },
            "model": {"uri": str(model_file), "trust": {"allow_pickle": True}},
            "sinks": [{"path": "out", "flush_secs": 0.2}],
        }
        source = job["source"] | changes.pop("source", {})
        job |= {"source": source, **changes}
        Path("job.yaml").write_text(yaml.safe_dump(job, sort_keys=False))
        return "job.yaml"


def rows_in(folder: str | Path) -> list[dict[str, Any]]:
    """The rows of all Parquet files right in a folder, by their id where they have one."""
    rows = [row for file in Path(folder).glob("part-*.parquet") for row in _rows(file)]
    return sorted(rows, key=lambda row: row.get("id") or 0)


def _rows(file: Path) -> list[dict[str, Any]]:
    return pq.ParquetFile(file).read().to_pylist()
