"""Writes batches as Parquet files that become visible together, at the end of a batch pipeline."""

import uuid
from collections.abc import Iterator

import apache_beam as beam

from .layout import FileLayout
from .receipts import GatherReceipts, Receipt
from .storage import move, remove_folder
from .write_parts import WriteParts


class WriteFiles(beam.PTransform):  # type: ignore[misc]
    """Writes batches to `part-*.parquet` in a folder, or to one file if the path ends in `.parquet`.

    Parts are staged and renamed in one last step, so a pipeline that fails leaves nothing under a
    final name. Files of the same names are replaced. It keeps no account of rows and writes no
    report: the command line's jobs do (see `Commit`).

    Gives the final paths.

    Args:
        path: a folder or file on any Beam file system. One file needs all batches in one split.
        keep: the input columns of predictions to write, all if None.
        row_id: whether to add the column `row_id`.
        run_id: names the staging folder; two pipelines that write to one path must not share it.
    """

    def __init__(
        self,
        path: str,
        keep: tuple[str, ...] | None = None,
        *,
        row_id: bool = False,
        run_id: str | None = None,
    ):
        super().__init__()
        self._layout = FileLayout(path)
        self._run_id = run_id or f"pipeline-{uuid.uuid4().hex}"
        self._keep = keep
        self._row_id = row_id

    def expand(self, batches: beam.PCollection) -> beam.PCollection:
        """Stage, gather, rename."""
        staging = self._layout.staging(self._run_id)
        return (
            batches
            | "Stage" >> WriteParts(staging, "predicted", self._keep, self._row_id)
            | "Gather" >> GatherReceipts()
            | "Rename" >> beam.ParDo(_RenameFn(self._layout, self._run_id))
        )


class _RenameFn(beam.DoFn):  # type: ignore[misc]
    def __init__(self, layout: FileLayout, run_id: str):
        self._layout = layout
        self._run_id = run_id

    def process(self, receipts: list[Receipt]) -> Iterator[str]:
        moves = self._layout.moves(receipts)
        if self._layout.is_one_file and len(moves) > 1:
            raise ValueError(
                f"{self._layout.output} is one file, but the batches came in {len(moves)} splits. "
                "Write to a folder."
            )
        for staged, final in moves:
            move(staged, final)
            yield final
        remove_folder(self._layout.own_folder(self._run_id))
