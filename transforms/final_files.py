"""Which staged files become which final ones: parts are complete, each place has what it should."""

import uuid
from collections.abc import Sequence

import pyarrow as pa

from .layout import EXTENSION, FileLayout
from .merge_parts import merge_parts
from .part_writer import PartWriter
from .receipts import Receipt
from .storage import join

Moves = list[tuple[str, str]]


def prediction_moves(
    layout: FileLayout, run_id: str, parts: Sequence[Receipt], schema: pa.Schema
) -> Moves:
    """(staged path, final path) of the predictions of one output: at least one file.

    What is made here gets a name of its own each time: a worker that was given up may still be
    at it, and the intent names what one of them completed.

    Args:
        layout: of the output.
        run_id: of the run.
        parts: the receipts of its parts.
        schema: of the empty file, if there is no part.
    """
    if not parts:
        path = _new_part(layout, run_id, "empty", layout.extension)
        PartWriter(path, schema).close()
        parts = [Receipt("predicted", 0, 0, path)]
    elif len(parts) > 1 and layout.is_one_file:
        parts = [merge_parts(parts, _new_part(layout, run_id, "predicted", layout.extension))]
    return layout.moves(parts)


def dead_letter_moves(layout: FileLayout, run_id: str, parts: Sequence[Receipt]) -> Moves:
    """(staged path, final path) of the dead letters, from whatever step and sink they came."""
    if len(parts) > 1 and layout.dead_letter_path.endswith(EXTENSION):
        parts = [merge_parts(parts, _new_part(layout, run_id, "dead_lettered", EXTENSION))]
    return layout.moves(parts)


def _new_part(layout: FileLayout, run_id: str, name: str, extension: str) -> str:
    return join(layout.staging(run_id), f"{name}-{uuid.uuid4().hex}{extension}")
