"""The payloads of messages, where each is one record by itself: one column of bytes."""

from __future__ import annotations

from collections.abc import Container, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from .lines import UTF8_BOM
from .records import Decoded, Part, Reject, assemble

_Indices = npt.NDArray[np.int64]
_Mask = npt.NDArray[np.bool_]


class Ledger:
    r"""Takes down what becomes of each message of a batch: a row, or a reject.

    Args:
        payloads: of the messages, in their order, with no null.

    >>> ledger = Ledger(pa.array([b"7", b""], pa.binary()))
    >>> ledger.accept(np.array([0]), pa.record_batch({"x": [7]}))
    >>> ledger.reject_empty(blank(ledger.payloads, b"\n"))
    >>> decoded = ledger.decoded()
    >>> decoded.ordinals.to_pylist(), [reject.error_code for reject in decoded.rejects]
    ([0], ['empty_message'])
    """

    def __init__(self, payloads: pa.BinaryArray) -> None:
        self.payloads = payloads
        self._parts: list[Part] = []
        self._rejects: list[Reject] = []

    def accept(self, messages: _Indices, batch: pa.RecordBatch) -> None:
        """Row i of the batch is what message `messages[i]` holds."""
        self._parts.append(Part(messages, batch))

    def accept_rows(self, messages: _Indices, decoded: Decoded) -> None:
        """The same, where ordinal i stands for message `messages[i]`; leaves out the rejects."""
        if decoded.batch is not None:
            self.accept(messages[decoded.ordinals.to_numpy()], decoded.batch)

    def add(self, messages: _Indices, decoded: Decoded, leave: Container[int] = ()) -> None:
        """Takes rows, and rejects but those to `leave`; ordinal i is message `messages[i]`."""
        self.accept_rows(messages, decoded)
        for fault in decoded.rejects:
            if fault.ordinal not in leave:
                message = int(messages[fault.ordinal])
                self.reject(message, fault.error_code, fault.error_class, fault.error_message)

    def reject(self, message: int, code: str, error_class: str, reason: str) -> None:
        """The message is malformed; its very bytes are kept."""
        payload = self.payloads[message].as_py()
        self._rejects.append(Reject(message, code, error_class, reason, payload))

    def reject_empty(self, is_empty: _Mask) -> None:
        """The messages that are marked hold nothing."""
        for message in np.flatnonzero(is_empty).tolist():
            self.reject(
                message, "empty_message", "ValueError", "expected a record, got an empty message"
            )

    def decoded(self) -> Decoded:
        """All that was taken down, in the messages' order."""
        return assemble(self._parts, self._rejects)


def as_payloads(payloads: Sequence[bytes] | pa.Array) -> pa.BinaryArray:
    """Turns payloads into one column of bytes.

    Raises:
        ValueError: one is null.
    """
    column = payloads if isinstance(payloads, pa.Array) else pa.array(payloads, pa.binary())
    if column.null_count:
        raise ValueError(f"expected the bytes of every message, got {column.null_count} nulls")
    return column if column.type == pa.binary() else column.cast(pa.binary())


def joined(payloads: pa.BinaryArray, end: bytes | pa.BinaryArray = b"\n") -> bytes:
    r"""Turns payloads into one block, in which each is followed by `end`, or by an end of its own.

    >>> joined(pa.array([b"a", b"b"], pa.binary()))
    b'a\nb\n'
    """
    if not len(payloads):
        return b""
    ends = pa.scalar(end, pa.binary()) if isinstance(end, bytes) else end
    ended = pc.binary_join_element_wise(payloads, ends, pa.scalar(b"", pa.binary()))
    offsets = _offsets(ended)
    first, last = int(offsets[0]), int(offsets[-1])
    block: bytes = ended.buffers()[2].slice(first, last - first).to_pybytes()
    return block


def without_marks(payloads: pa.BinaryArray) -> pa.BinaryArray:
    """Drops the byte order mark at the start of a payload: it is no part of the record."""
    if not (_first_bytes(payloads) == UTF8_BOM[0]).any():
        return payloads
    marked = pc.starts_with(payloads, UTF8_BOM)
    bare = [payload[len(UTF8_BOM) :] for payload in payloads.filter(marked).to_pylist()]
    return pc.replace_with_mask(payloads, marked, pa.array(bare, pa.binary()))


def blank(payloads: pa.BinaryArray, spaces: bytes) -> _Mask:
    """Marks the payloads that hold nothing but these white-space characters."""
    is_blank = np.zeros(len(payloads), bool)
    for index in np.flatnonzero(_first_bytes(payloads) <= ord(" ")).tolist():
        is_blank[index] = not payloads[index].as_py().strip(spaces)
    return is_blank


def taken(payloads: pa.BinaryArray, indices: _Indices) -> pa.BinaryArray:
    """Returns the payloads with these increasing indices; all of them without a copy."""
    return payloads if len(indices) == len(payloads) else payloads.take(pa.array(indices))


def _first_bytes(payloads: pa.BinaryArray) -> npt.NDArray[np.uint8]:
    """Returns the first byte of each payload, 0 where there is none."""
    offsets = _offsets(payloads)
    buffer = payloads.buffers()[2]
    data = np.zeros(1, np.uint8) if not buffer else np.frombuffer(buffer, np.uint8)
    first = data[np.minimum(offsets[:-1], len(data) - 1)]
    return np.where(offsets[1:] > offsets[:-1], first, np.uint8(0))


def _offsets(payloads: pa.BinaryArray) -> npt.NDArray[np.int32]:
    """Returns where each payload starts in the buffer, and where the last one ends."""
    if not len(payloads):
        return np.zeros(1, np.int32)
    return np.frombuffer(payloads.buffers()[1], np.int32)[payloads.offset :][: len(payloads) + 1]
