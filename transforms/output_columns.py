"""Which columns of a scored batch are written."""

import json

import pyarrow as pa

from scoreline.models.reserved import OUTPUTS_KEY, metadata_of, user_columns

from .identity import row_ids

ROW_ID = "row_id"


def output_columns(
    batch: pa.RecordBatch, keep: tuple[str, ...] | None = None, *, row_id: bool = False
) -> pa.RecordBatch:
    """Turns a scored batch into what a sink writes: kept input columns, outputs, `row_id`.

    Args:
        batch: scored by `Predict`; for any other batch all columns count as input.
        keep: the input columns to keep, in this order; all if None.
        row_id: whether to add the column `row_id`, `source#position`.

    Raises:
        ValueError: a column to keep is not there, or the input has a column `row_id` of its own.

    >>> output_columns(pa.record_batch({"a": [1], "_scoreline_position": [5]})).schema.names
    ['a']
    """
    visible = user_columns(batch)
    if keep is not None:
        _check_keep(keep, visible.schema.names)
        outputs = json.loads(metadata_of(batch, OUTPUTS_KEY, "[]"))
        visible = visible.select(list(dict.fromkeys([*keep, *outputs])))
    if row_id:
        if ROW_ID in visible.schema.names:
            raise ValueError(
                f"the input already has a column {ROW_ID!r}: rename it there, leave it out with "
                "keep, or do without row_id"
            )
        visible = visible.append_column(ROW_ID, row_ids(batch))
    return visible.replace_schema_metadata(None)


def _check_keep(keep: tuple[str, ...], names: list[str]) -> None:
    missing = [name for name in keep if name not in names]
    if missing:
        raise ValueError(f"cannot keep the columns {missing}: the batch has {names}")
