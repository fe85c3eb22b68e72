"""Turns messages that hold one Avro datum each into one batch and its malformed messages.

A datum says neither how long it is nor which schema wrote it: in a damaged one any bytes may pose
as values. So all messages of a batch are decoded in one call, as records with one more field, whose
sixteen bytes, made up by this process, follow each payload. Where they come out of every record,
every record ended where its message did; where they do not, the batch is decoded in halves, down to
the messages that are malformed.
"""

from __future__ import annotations

import io
import json
import os
from typing import Any, Final

import fastavro
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from fastavro.schema import SchemaParseException

from .avro_blocks import AvroBlock, CorruptAvroError
from .avro_decode import BlockDecoder, physical
from .avro_schema import to_arrow_schema
from .casts import cast_checked
from .payloads import Ledger, blank, joined, taken

_Indices = npt.NDArray[np.int64]

_END: Final = "scoreline_end_of_message"
_END_BYTES: Final = 16


def avro_columns(avro_schema: str) -> pa.Schema:
    """Turns the writer's schema, as JSON text, into the columns that its messages have.

    Raises:
        ValueError: it is no Avro schema of records.
        TypeError: it holds a type that no column can hold.

    >>> fields = '[{"name": "x", "type": "double"}]'
    >>> avro_columns('{"type": "record", "name": "Row", "fields": %s}' % fields).types
    [DataType(double)]
    """
    return to_arrow_schema(_parsed(avro_schema))


class AvroMessages:
    """Decodes Avro messages: bare binary data, as a Pub/Sub topic with an Avro schema takes them.

    Args:
        schema: the columns to read, in the order wanted. A column of another type than Avro's is
            cast; a value that does not fit makes its message malformed.
        avro_schema: the writer's, as JSON text.

    Raises:
        TypeError: the Avro schema holds a type that no column can hold, or a wanted type cannot be
            cast from it.
        ValueError: the Avro schema is none of records, or lacks a wanted column.
    """

    def __init__(self, schema: pa.Schema, avro_schema: str) -> None:
        parsed, written = _parsed(avro_schema), avro_columns(avro_schema)
        _check_columns(schema, written)
        self._schema = pa.schema([field.with_nullable(True) for field in schema])
        self._plain: Any = fastavro.parse_schema(physical(parsed))
        self._end = os.urandom(_END_BYTES)
        end = {"name": _END, "type": {"type": "fixed", "name": _END, "size": _END_BYTES}}
        ended = {**parsed, "fields": [*parsed["fields"], end]}
        self._records = BlockDecoder(ended, to_arrow_schema(ended))

    def decode(self, ledger: Ledger) -> None:
        """Gives a verdict on every message."""
        is_empty = blank(ledger.payloads, b"")
        ledger.reject_empty(is_empty)
        self._decode(np.flatnonzero(~is_empty), ledger)

    def _decode(self, messages: _Indices, ledger: Ledger) -> None:
        if not len(messages):
            return
        batch = self._try(taken(ledger.payloads, messages))
        if batch is not None:
            self._cast(batch, messages, ledger)
        elif len(messages) > 1:
            for half in np.array_split(messages, 2):
                self._decode(half, ledger)
        else:
            message = int(messages[0])
            ledger.reject(message, "malformed_avro", *self._reason(ledger.payloads[message]))

    def _try(self, payloads: pa.BinaryArray) -> pa.RecordBatch | None:
        """Decodes payloads; None where one of them is not one whole record."""
        block = AvroBlock(0, 0, len(payloads), joined(payloads, self._end))
        try:
            batch = self._records.batch([block])
        except CorruptAvroError:
            return None
        is_end = pc.equal(batch.column(_END), pa.scalar(self._end, pa.binary(_END_BYTES)))
        return batch if pc.all(is_end).as_py() else None

    def _reason(self, payload: pa.Scalar) -> tuple[str, str]:
        """The class and the message of the error for a payload that is not one whole record."""
        stream = io.BytesIO(payload.as_py())
        try:
            fastavro.schemaless_reader(stream, self._plain, None)
        except EOFError as error:
            return type(error).__name__, "expected one Avro record, got one that is cut short"
        except Exception as error:  # whatever it is, it is the reason
            name = type(error).__name__
            return name, f"expected one Avro record, got bytes that are none: {error!r}"
        left = len(stream.getvalue()) - stream.tell()
        return "ValueError", f"expected one Avro record, got one with {left} bytes after it"

    def _cast(self, batch: pa.RecordBatch, messages: _Indices, ledger: Ledger) -> None:
        """Takes the wanted columns in the wanted types."""
        arrays: list[pa.Array] = []
        faults: dict[int, str] = {}
        for field in self._schema:
            column = batch.column(field.name)
            cast = cast_checked(column, field.type)
            arrays.append(cast.array)
            for row in [] if cast.bad is None else np.flatnonzero(cast.bad).tolist():
                shown = _shown(column[row])
                faults.setdefault(row, f"column {field.name!r}: expected {field.type}, got {shown}")
        for row, reason in faults.items():
            ledger.reject(int(messages[row]), "wrong_type", "ArrowInvalid", reason)
        rows = np.delete(np.arange(len(messages)), list(faults))
        good = pa.RecordBatch.from_arrays(arrays, schema=self._schema)
        ledger.accept(messages[rows], good.take(pa.array(rows)) if faults else good)


def _shown(value: pa.Scalar) -> str:
    try:
        return repr(value.as_py())
    except (OverflowError, ValueError):
        return "a time that no calendar has"


def _parsed(avro_schema: str) -> dict[str, Any]:
    try:
        schema = json.loads(avro_schema)
        fastavro.parse_schema(schema)
    except (ValueError, KeyError, TypeError, SchemaParseException) as error:
        raise ValueError(f"avro schema: expected one as JSON: {error!r}") from error
    if not isinstance(schema, dict) or schema.get("type") != "record":
        raise ValueError(f"avro schema: expected that of a record, got {avro_schema[:80]!r}")
    if not schema.get("fields"):
        raise ValueError("avro schema: expected a record with at least one field, got none")
    return schema


def _check_columns(wanted: pa.Schema, written: pa.Schema) -> None:
    missing = [name for name in wanted.names if name not in written.names]
    if missing:
        raise ValueError(f"avro schema: expected the fields {missing}, got {written.names}")
    for field in wanted:
        source = written.field(field.name).type
        try:
            cast_checked(pa.array([], source), field.type)
        except pa.ArrowNotImplementedError as error:
            raise TypeError(
                f"column {field.name!r}: expected a type that can be cast from Avro's {source}, "
                f"got {field.type}"
            ) from error
