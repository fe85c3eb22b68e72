"""Turns raw Avro blocks into record batches, with as little as possible on top of fastavro.

fastavro pays for each field of each row. Where floats and booleans stand side by side, as features
do, their bytes have a fixed width, so the schema that fastavro is given calls the whole run one
`fixed` field, and numpy cuts it into columns. A nullable float is one byte that says "not null"
and then the float, so it joins a run too, as a bet that it holds no null. All those bytes are
looked at before a batch is made: a row's place follows from what stands before it, so if every bet
of every row holds, every row was read where it lies. If one does not, the same blocks are decoded
plainly, and the columns that held a null leave the runs for the rest of the file.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import fastavro
import numpy as np
import pyarrow as pa

from .avro_blocks import AvroBlock, avro_long, corrupt

_WIDTHS: Final = {"double": "<f8", "float": "<f4", "boolean": "u1"}
_FLAT: Final = {*_WIDTHS, "int", "long", "string", "bytes", "enum", "fixed"}
# What fastavro, decimal and Arrow raise on bytes that are no such record.
_BAD_BYTES: Final = (EOFError, ValueError, LookupError, ArithmeticError, MemoryError, TypeError)


@dataclass(frozen=True)
class _Member:
    """A column inside a run; `marker` is the byte before it that says "not null", if any."""

    column: int
    numpy_type: str
    marker: int | None


class BlockDecoder:
    """Decodes the blocks of one file.

    Args:
        avro_schema: the writer's.
        schema: what `to_arrow_schema` makes of it.
    """

    def __init__(self, avro_schema: dict[str, Any], schema: pa.Schema):
        self._fields = [physical(field) for field in avro_schema["fields"]]
        self._schema = schema
        self._avro: dict[str, Any] = {
            key: avro_schema[key] for key in ("name", "namespace") if key in avro_schema
        }
        self._held_null: set[int] = set()
        self._plain = _Layout([], self._fields, schema, self._avro)
        self._fast = self._bet()

    def batch(self, blocks: list[AvroBlock]) -> pa.RecordBatch:
        """Turns blocks, of at least one row each, into one batch.

        Raises:
            CorruptAvroError: bytes that are no such records.
        """
        try:
            batch = self._fast.decode(blocks)
        except _BAD_BYTES:
            batch = None  # perhaps a null, perhaps damage: the plain way tells which
        if batch is not None:
            return batch
        batch = pa.concat_batches([self._decode_plainly(block) for block in blocks])
        nulls = {i for i, column in enumerate(batch.columns) if column.null_count}
        if not nulls <= self._held_null:
            self._held_null |= nulls
            self._fast = self._bet()
        return batch

    def _decode_plainly(self, block: AvroBlock) -> pa.RecordBatch:
        try:
            batch = self._plain.decode([block])
        except _BAD_BYTES as error:
            raise corrupt(block.index, block.first_row, repr(error)) from error
        assert batch is not None  # a layout without runs makes no bets
        return batch

    def _bet(self) -> "_Layout":
        """Returns the layout with the longest runs that no null has spoken against yet."""
        if not all(_flat_type(field["type"])[0] in _FLAT for field in self._fields):
            return self._plain  # after a wrong bet, any bytes may pose as an array's length
        runs: list[list[_Member]] = [[]]
        for column, field in enumerate(self._fields):
            member = _member(column, field)
            if member is None or column in self._held_null:
                runs.append([])
            else:
                runs[-1].append(member)
        worth = [run for run in runs if len(run) > 1 or (run and run[0].marker is not None)]
        return _Layout(worth, self._fields, self._schema, self._avro)


class _Layout:
    """One way to read the records: which columns are runs, and which fastavro decodes itself."""

    def __init__(
        self,
        runs: list[list[_Member]],
        fields: list[dict[str, Any]],
        schema: pa.Schema,
        avro: dict[str, Any],
    ):
        self._schema = schema
        self._runs = {run[0].column: (run, _run_dtype(run)) for run in runs}
        inside = {member.column for run in runs for member in run[1:]}
        self._columns = [i for i in range(len(fields)) if i not in inside]
        items = [self._avro_field(i, fields[i]) for i in self._columns]
        record = {"type": "record", **avro, "fields": items}
        self._avro_schema = fastavro.parse_schema({"type": "array", "items": record})
        self._struct = pa.struct([self._stored_field(i) for i in self._columns])

    def _avro_field(self, column: int, field: dict[str, Any]) -> dict[str, Any]:
        if column not in self._runs:
            return field
        size = self._runs[column][1].itemsize
        name = f"scoreline_run_{column}"
        return {"name": field["name"], "type": {"type": "fixed", "name": name, "size": size}}

    def _stored_field(self, column: int) -> pa.Field:
        field = self._schema.field(column)
        if column in self._runs:
            return field.with_type(pa.binary(self._runs[column][1].itemsize))
        return field.with_type(stored_type(field.type))

    def decode(self, blocks: list[AvroBlock]) -> pa.RecordBatch | None:
        """Decodes blocks in one call, as an Avro array: count, items, and 0 for the end.

        Returns None where a bet was lost.
        """
        num_rows = sum(block.num_rows for block in blocks)
        parts = [avro_long(num_rows), *(block.data for block in blocks), b"\0"]
        data = io.BytesIO(b"".join(parts))
        rows: Any = fastavro.schemaless_reader(data, self._avro_schema, None)
        left = data.getbuffer().nbytes - data.tell()
        if left or len(rows) != num_rows:
            raise ValueError(f"{len(rows)} of {num_rows} records, {left} bytes are left")
        columns: list[pa.Array | None] = [None] * len(self._schema)
        parts_of = pa.array(rows, type=self._struct).flatten()
        for index, part in zip(self._columns, parts_of, strict=True):
            if index not in self._runs:
                columns[index] = part.cast(self._schema.field(index).type)
                continue
            for member, column in self._cut(index, part):
                if column is None:
                    return None
                columns[member.column] = column
        return pa.RecordBatch.from_arrays(columns, schema=self._schema)

    def _cut(self, index: int, cells: pa.Array) -> Iterator[tuple[_Member, pa.Array | None]]:
        run, dtype = self._runs[index]
        cut = np.frombuffer(cells.buffers()[1], dtype, len(cells), cells.offset * dtype.itemsize)
        for member in run:
            markers = None if member.marker is None else cut[f"marker{member.column}"]
            if markers is not None and (markers != member.marker).any():
                yield member, None
                return
            values = np.ascontiguousarray(cut[f"value{member.column}"])
            yield member, pa.array(values.astype(bool) if member.numpy_type == "u1" else values)


def _run_dtype(run: list[_Member]) -> np.dtype:
    fields: list[tuple[str, str]] = []
    for member in run:
        if member.marker is not None:
            fields.append((f"marker{member.column}", "u1"))
        fields.append((f"value{member.column}", member.numpy_type))
    return np.dtype(fields)


def _member(column: int, field: dict[str, Any]) -> _Member | None:
    kind, marker = _flat_type(field["type"])
    return _Member(column, _WIDTHS[kind], marker) if kind in _WIDTHS else None


def _flat_type(schema: Any) -> tuple[str, int | None]:
    """Returns the type's name, or "" for a nested one, and the byte before a value of a union."""
    if isinstance(schema, list):
        kinds = [branch for branch in schema if branch != "null"]
        if len(kinds) != 1 or len(schema) != 2:
            return "", None
        return _flat_type(kinds[0])[0], 2 * schema.index(kinds[0])
    kind = schema.get("type", "") if isinstance(schema, dict) else schema
    return (kind if isinstance(kind, str) else ""), None


def physical(schema: Any) -> Any:
    """Drops logical types other than decimals, so that no Python object is made for a time.

    >>> physical({"type": "long", "logicalType": "timestamp-micros"})
    {'type': 'long'}
    """
    if isinstance(schema, list):
        return [physical(branch) for branch in schema]
    if not isinstance(schema, dict):
        return schema
    dropped = {"default", "doc", "order", "aliases"}
    if schema.get("logicalType") != "decimal":
        dropped.add("logicalType")
    kept = {key: value for key, value in schema.items() if key not in dropped}
    for key in {"type", "items", "values"} & kept.keys():
        kept[key] = physical(kept[key])
    if "fields" in kept:
        kept["fields"] = [physical(field) for field in kept["fields"]]
    return kept


def stored_type(kind: pa.DataType) -> pa.DataType:
    """Turns an Arrow type into that of the integers, without meaning, that Avro stores for it.

    >>> stored_type(pa.list_(pa.date32()))
    ListType(list<item: int32>)
    """
    if pa.types.is_date32(kind) or pa.types.is_time32(kind):
        return pa.int32()
    if pa.types.is_time64(kind) or pa.types.is_timestamp(kind):
        return pa.int64()
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(stored_type(field.type)) for field in kind])
    if pa.types.is_map(kind):
        return pa.map_(pa.string(), kind.item_field.with_type(stored_type(kind.item_type)))
    if pa.types.is_list(kind):
        return pa.list_(kind.value_field.with_type(stored_type(kind.value_type)))
    return kind
