"""Rows for a cluster, and whether what came out is what the model says of each of them."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from running import NUMBERS, files_below, numbers

_CHUNK = 100_000  # rows made at a time, and the row group
_MORE = 12  # columns that no model takes: 64 MB, the size of a split, are 500,000 rows
_CLOSED = ("_SUCCESS", "commit.json", "job.yaml", "report.json")


def write_wide(path: Path, rows: int, poison_every: int = 0) -> Path:
    """Writes rows with the columns of `numbers` and more, holding a chunk at a time.

    Args:
        path: of a Parquet file.
        rows: how many; they have the ids 0, 1, 2, ...
        poison_every: each so-many-th row has no value where the model needs one.
    """
    writer = None
    for start in range(0, rows, _CHUNK):
        count = min(_CHUNK, rows - start)
        table = _wide(numbers(count, seed=start), start, poison_every)
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    assert writer is not None, "no rows"
    writer.close()
    return path


def _wide(table: pa.Table, start: int, poison_every: int) -> pa.Table:
    ids = np.arange(start, start + table.num_rows)
    table = table.set_column(3, "id", pa.array(ids))
    if poison_every:
        is_poison = ids % poison_every == poison_every - 1
        table = table.set_column(0, "a", pa.array(table["a"].to_numpy(), mask=is_poison))
    random = np.random.default_rng(start)
    for number in range(_MORE):
        more = pa.array(random.normal(size=table.num_rows))
        table = table.append_column(f"more_{number:02d}", more)
    return table


def check_whole(output: Path, source: Path, model: Any, poison_every: int = 0) -> None:
    """Checks an output, split by split: all rows once, in order, as the model has them; no debris.

    Args:
        output: a folder, of one run.
        source: the Parquet file that was scored.
        model: the estimator.
        poison_every: see `write_wide`.
    """
    expected = pq.ParquetFile(source).iter_batches(batch_size=_CHUNK)
    scored = _Rows(sorted(output.glob("part-*.parquet")))
    total = dead = 0
    for batch in expected:
        good = batch.filter(pc.is_valid(batch["a"]))
        found = scored.take(good.num_rows)
        total, dead = total + batch.num_rows, dead + batch.num_rows - good.num_rows
        assert found.select(batch.schema.names).equals(pa.table(good))
        predicted = model.predict(good.select(NUMBERS).to_pandas())
        assert np.array_equal(found["prediction"].to_numpy(), predicted)
    assert scored.take(1).num_rows == 0, "more rows came out than went in"
    assert dead == (total // poison_every if poison_every else 0)
    check_dead_letters(output, poison_every, dead)
    check_no_debris(output)


def check_dead_letters(output: Path, poison_every: int, dead: int) -> None:
    """Checks that there is one dead letter for each row of poison, and no other."""
    folder = output / "_dead_letters"
    if not dead:
        assert not folder.exists()
        return
    positions = sorted(map(int, pq.read_table(folder)["position"].to_pylist()))
    assert positions == [poison_every * number - 1 for number in range(1, dead + 1)]


def check_no_debris(output: Path) -> None:
    """Checks that nothing is left of a run but its parts and its closed folder.

    In that folder each worker has a file of its own, for whoever looks into what happened.
    """
    left = [name for name in files_below(output) if not name.endswith(".parquet")]
    own = [name for name in left if name.startswith("_run/RUN/workers/")]
    assert own, "no worker said anything"
    assert sorted(set(left) - set(own)) == [f"_run/RUN/{name}" for name in _CLOSED]
    # A worker may be ended while it replaces its own file, after the job.
    all_but_own = (path for path in output.rglob("*") if "workers" not in path.parts)
    hidden = [path for path in all_but_own if ".tmp" in path.name or "staged" in path.parts]
    assert not hidden


class _Rows:
    """The rows of some files, one after the other, in memory as far as they are needed."""

    def __init__(self, paths: list[Path]):
        self._batches = (
            batch for path in paths for batch in pq.ParquetFile(path).iter_batches(_CHUNK)
        )
        self._left: pa.Table | None = None

    def take(self, rows: int) -> pa.Table:
        """The next rows; fewer if that is all."""
        while self._left is None or self._left.num_rows < rows:
            batch = next(self._batches, None)
            if batch is None:
                break
            new = pa.table(batch)
            self._left = new if self._left is None else pa.concat_tables([self._left, new])
        assert self._left is not None, "no rows came out"
        taken, self._left = self._left.slice(0, rows), self._left.slice(rows)
        return taken
