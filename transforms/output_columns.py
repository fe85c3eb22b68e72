"""Which columns of a scored batch are written."""

import json

import pyarrow as pa

from scoreline.models.reserved import OUTPUTS_KEY, metadata_of, user_columns

from .identity import row_ids


def output_columns(
    batch: pa.RecordBatch, keep: tuple[str, ...] | None = None, *, row_id: bool = False
) -> pa.RecordBatch:
    """Turns a scored batch into what a sink writes: kept input columns, outputs, `row_id`.

    Args:
        batch: scored by `Predict`; for any other batch all columns count as input.
        keep: the input columns to keep, in this order; all if None.
        row_id: whether to add the column `row_id`, `source#position`.

    >>> output_columns(pa.record_batch({"a": [1], "_scoreline_position": [5]})).schema.names
    ['a']
    """
    ids = row_ids(batch) if row_id else None
    visible = user_columns(batch)
    if keep is not None:
        outputs = json.loads(metadata_of(batch, OUTPUTS_KEY, "[]"))
        visible = visible.select([*keep, *outputs])
    if ids is not None:
        visible = visible.append_column("row_id", ids)
    return visible.replace_schema_metadata(None)
