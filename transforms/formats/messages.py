"""Turns the messages of a queue into one batch and the malformed messages: one message, one record.

Nothing is known of a message but its bytes, and no verdict on one depends on its neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from .avro_messages import AvroMessages
from .csv_dialect import CsvDialect
from .csv_messages import CsvMessages
from .json_messages import JsonMessages
from .payloads import Ledger, as_payloads, blank, taken
from .records import Decoded

_Indices = npt.NDArray[np.int64]

MessageFormat = Literal["json", "csv", "avro", "raw"]
RAW_COLUMN = "payload"


@dataclass(frozen=True)
class MessageReading:
    """How the payload of a message becomes columns.

    Attributes:
        format: `json` is one object, `csv` one record, `avro` one datum in binary, without a
            container; `raw` is the bytes as they are.
        schema: the columns wanted, with their types. For `raw` one column: of strings for text in
            UTF-8, else of bytes; none means bytes in a column `payload`.
        untyped: of the columns of a `json` message, those that take any value: one that is no
            string comes as its JSON text.
        dialect: of `csv`, with the names of all fields.
        avro_schema: of `avro`, the writer's, as JSON text.
    """

    format: MessageFormat
    schema: pa.Schema
    untyped: frozenset[str] = frozenset()
    dialect: CsvDialect = field(default_factory=CsvDialect)
    avro_schema: str | None = None


class _Format(Protocol):
    def decode(self, ledger: Ledger) -> None:
        """Gives a verdict on every message."""


class MessageDecoder:
    r"""Turns the payloads of messages into batches of one schema.

    The record's ordinal is the index of its message; the payload of a reject is the message's very
    bytes. A message that holds nothing is malformed, unless bytes are all that is wanted.

    Args:
        reading: what the payloads hold.

    Raises:
        TypeError: a type that the format cannot give.
        ValueError: the reading lacks what its format needs, or contradicts itself.

    >>> reading = MessageReading("json", pa.schema({"a": pa.int64()}))
    >>> decoded = MessageDecoder(reading).decode([b'{"a": 1}', b"", b'{\n"a": 2\n}'])
    >>> decoded.batch.to_pydict(), decoded.ordinals.to_pylist()
    ({'a': [1, 2]}, [0, 2])
    >>> [(reject.ordinal, reject.error_code) for reject in decoded.rejects]
    [(1, 'empty_message')]
    """

    def __init__(self, reading: MessageReading) -> None:
        self.reading = reading
        self.schema = payload_columns(reading)
        self._format = _format(reading, self.schema)

    def decode(self, payloads: Sequence[bytes] | pa.Array) -> Decoded:
        """Turns payloads into their good rows and their malformed messages."""
        ledger = Ledger(as_payloads(payloads))
        if len(ledger.payloads):
            self._format.decode(ledger)
        return ledger.decoded()


def payload_columns(reading: MessageReading) -> pa.Schema:
    """Returns the columns that a reading gives.

    Raises:
        ValueError: raw messages are to give anything but one column of strings or bytes.
    """
    fields = list(reading.schema)
    if reading.format == "raw":
        fields = fields or [pa.field(RAW_COLUMN, pa.binary())]
        if len(fields) != 1 or fields[0].type not in (pa.string(), pa.binary()):
            raise ValueError(
                "raw messages: expected one column of strings or bytes, got "
                f"{ {field.name: str(field.type) for field in fields} }. Choose another format "
                "(source.format, --input-format), or name one column."
            )
    return pa.schema([field.with_nullable(True) for field in fields])


def _format(reading: MessageReading, columns: pa.Schema) -> _Format:
    if reading.format == "json":
        return JsonMessages(columns, reading.untyped)
    if reading.format == "csv":
        return CsvMessages(columns, reading.dialect)
    if reading.format == "raw":
        return _RawMessages(columns)
    if reading.avro_schema is None:
        raise ValueError(
            "avro messages: expected the writer's schema, got none: give it with --avro-schema "
            "(source.avro_schema)"
        )
    return AvroMessages(columns, reading.avro_schema)


class _RawMessages:
    """Takes payloads as they are: as bytes, or as text where that is what they hold."""

    def __init__(self, columns: pa.Schema) -> None:
        self._columns = columns
        self._is_text = columns.field(0).type == pa.string()

    def decode(self, ledger: Ledger) -> None:
        messages, column = np.arange(len(ledger.payloads)), ledger.payloads
        if self._is_text:
            is_empty = blank(ledger.payloads, b"")
            ledger.reject_empty(is_empty)
            messages, column = _as_text(np.flatnonzero(~is_empty), ledger)
        ledger.accept(messages, pa.RecordBatch.from_arrays([column], schema=self._columns))


def _as_text(messages: _Indices, ledger: Ledger) -> tuple[_Indices, pa.StringArray]:
    """Returns the messages that are valid UTF-8, and their text; rejects the others."""
    payloads = taken(ledger.payloads, messages)
    try:
        return messages, payloads.cast(pa.string())
    except pa.ArrowInvalid:
        pass  # now it is worth while to look at each
    good = np.ones(len(messages), bool)
    for index, payload in enumerate(payloads.to_pylist()):
        try:
            payload.decode()
        except UnicodeDecodeError as error:
            good[index] = False
            reason = f"expected UTF-8, got {error}"
            ledger.reject(int(messages[index]), "invalid_utf8", "UnicodeDecodeError", reason)
    return messages[good], taken(payloads, np.flatnonzero(good)).cast(pa.string())
