"""Writes batches as files that become visible together, at the end of a batch pipeline."""

import uuid
from collections.abc import Iterator
from dataclasses import replace

import apache_beam as beam
import pyarrow as pa
from apache_beam.transforms.window import GlobalWindows

from .file_formats import PART_EXTENSIONS, FileFormat
from .layout import FileLayout
from .merge_parts import merge_parts
from .receipts import GatherReceipts, Receipt
from .storage import exists, join, move, remove, remove_empty_folder, remove_folder
from .write_parts import WriteParts


class WriteFiles(beam.PTransform[beam.PCollection[pa.RecordBatch], beam.PCollection[str]]):
    """Writes batches to `part-*` files in a folder, or to one file if that is what is named.

    Parts are staged below `_run` (for one file, in `<file>.run`) and renamed in one last step, so a
    pipeline that fails leaves nothing under a final name. Without a batch nothing is written, as
    no schema is known. It keeps no account of rows and writes no report: the command line's jobs
    do (see `Commit`).

    Gives the final paths.

    Args:
        path: a folder, or a file whose extension names a format, on any Beam file system.
        keep: the input columns of predictions to write, all if None.
        row_id: whether to add the column `row_id`.
        overwrite: whether to replace the parts that are there; if not, they fail the last step.
        run_id: names the staging folder; two pipelines that write to one path must not share it.
        format: of the files in a folder.
    """

    def __init__(
        self,
        path: str,
        keep: tuple[str, ...] | None = None,
        *,
        row_id: bool = False,
        overwrite: bool = False,
        run_id: str | None = None,
        format: FileFormat = "parquet",  # noqa: A002  the field's word, as in the job file
    ):
        super().__init__()
        self._layout = FileLayout(path, part_extension=PART_EXTENSIONS[format])
        self._run_id = run_id or f"pipeline-{uuid.uuid4().hex}"
        self._keep = keep
        self._row_id = row_id
        self._overwrite = overwrite

    def expand(self, batches: beam.PCollection[pa.RecordBatch]) -> beam.PCollection[str]:
        """Stage, gather, rename; all windows go into the same files."""
        staging = self._layout.staging(self._run_id)
        return (
            batches
            | "AllWindows" >> beam.WindowInto(GlobalWindows())
            | "Stage"
            >> WriteParts(staging, "predicted", self._keep, self._row_id, self._layout.extension)
            | "Gather" >> GatherReceipts()
            | "Rename" >> beam.ParDo(_RenameFn(self._layout, self._run_id, self._overwrite))
        )


class _RenameFn(beam.DoFn):
    def __init__(self, layout: FileLayout, run_id: str, overwrite: bool):
        self._layout = layout
        self._run_id = run_id
        self._overwrite = overwrite

    def process(self, receipts: list[Receipt]) -> Iterator[str]:
        moves = self._layout.moves(self._as_one(receipts))
        self._make_way(moves)
        for staged, final in moves:
            move(staged, final)
            yield final
        remove_folder(self._layout.own_folder(self._run_id))
        remove_empty_folder(self._layout.own_run_root)

    def _as_one(self, receipts: list[Receipt]) -> list[Receipt]:
        """One part where one file was asked for. The parts go as soon as it is complete.

        So, when this is repeated, a part that is gone tells that there is nothing to merge.
        """
        if len(receipts) == 1 or not self._layout.is_one_file:
            return receipts
        merged = join(self._layout.staging(self._run_id), f"merged{self._layout.extension}")
        parts = [str(receipt.path) for receipt in receipts]
        if all(map(exists, parts)):
            merge_parts(receipts, merged)
        for part in parts:
            remove(part)
        return [replace(receipts[0], path=merged)]

    def _make_way(self, moves: list[tuple[str, str]]) -> None:
        """Removes the files of an earlier run or, if that is not allowed, refuses them."""
        done = {final for staged, final in moves if not exists(staged)}
        there = [path for path in self._layout.existing() if path not in done]
        if there and not self._overwrite:
            raise FileExistsError(
                f"{self._layout.output} holds files of an earlier run, such as {there[0]}. Choose "
                "another path, or replace them with overwrite=True."
            )
        for path in set(there) - {final for _, final in moves}:
            remove(path)
