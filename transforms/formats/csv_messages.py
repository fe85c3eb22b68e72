r"""Turns messages that hold one CSV record each into one batch and its malformed messages.

A message is data only: the names of its fields come from the dialect. Messages of one line each are
decoded as one block. Where a message alone shows that it ends there, a quoted field may hold line
ends whatever the dialect says of files.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .csv_dialect import CsvDialect
from .csv_lines import CsvDecoder
from .payloads import Ledger, blank, joined, taken, without_marks

_LINE_ENDS = b"\r\n"


class CsvMessages:
    """Decodes CSV messages of one schema; see `CsvDecoder` for the rules.

    Args:
        schema: the columns to read, in the order wanted.
        dialect: how the messages are written, with the names of all their fields.

    Raises:
        TypeError: the schema has a type that CSV cannot give.
        ValueError: the dialect has no names, or the schema a column that it does not name.
    """

    def __init__(self, schema: pa.Schema, dialect: CsvDialect) -> None:
        self._lines = CsvDecoder(replace(dialect, newlines_in_values=False), schema)
        self._alone = CsvDecoder(replace(dialect, newlines_in_values=True), schema)

    def decode(self, ledger: Ledger) -> None:
        """Gives a verdict on every message."""
        texts = without_marks(ledger.payloads)
        is_empty = blank(texts, _LINE_ENDS)
        ledger.reject_empty(is_empty)
        is_ended = pc.ends_with(texts, b"\n")
        newlines = pc.count_substring(texts, b"\n").to_numpy(zero_copy_only=False)
        goes_on = newlines > is_ended.to_numpy(zero_copy_only=False)
        messages = np.flatnonzero(~is_empty & ~goes_on)
        ends = pc.if_else(is_ended, pa.scalar(b""), pa.scalar(b"\n"))
        block = joined(taken(texts, messages), taken(ends, messages))
        ledger.add(messages, self._lines.decode(block))
        for message in np.flatnonzero(~is_empty & goes_on).tolist():
            self._decode_alone(texts[message].as_py(), message, ledger)

    def _decode_alone(self, text: bytes, message: int, ledger: Ledger) -> None:
        decoded = self._alone.decode(text)
        if decoded.num_records == 1:
            ledger.add(np.array([message]), decoded)
            return
        reason = f"expected one record in a message, got {decoded.num_records}"
        ledger.reject(message, "malformed_csv", "ValueError", reason)
