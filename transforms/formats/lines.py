"""Cuts a block of text into lines without copying it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

UTF8_BOM = b"\xef\xbb\xbf"

_NEWLINE, _RETURN, _SPACE = b"\n\r "


@dataclass(frozen=True, slots=True)
class Lines:
    r"""The non-blank lines of `block`: line i is `block[starts[i]:ends[i]]`, without its line end.

    A line ends at `\n` or `\r\n`, the last one also at the end of the block; a lone `\r` does
    not end a line. A line of spaces and tabs is blank where `split_lines` was told so.
    """

    block: bytes
    starts: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, index: int) -> bytes:
        return self.block[self.starts[index] : self.ends[index]]

    def take(self, indices: npt.NDArray[np.int64]) -> Lines:
        """Returns the lines with these indices, in this order."""
        return Lines(self.block, self.starts[indices], self.ends[indices])

    def join(self) -> bytes:
        """Returns the lines as one block, each ended by one newline."""
        if len(self) == 0:
            return b""
        first, last = int(self.starts[0]), int(self.ends[-1])
        if (self.starts[1:] - self.ends[:-1] == 1).all():
            return self.block[first:last] + b"\n"
        pairs = zip(self.starts.tolist(), self.ends.tolist(), strict=True)
        return b"\n".join([self.block[start:end] for start, end in pairs]) + b"\n"

    def holding(self, positions: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Returns the sorted indices of the lines that hold one of these byte positions."""
        indices = np.unique(np.searchsorted(self.starts, positions, side="right") - 1)
        indices = indices[indices >= 0]
        return indices.astype(np.int64, copy=False)


def split_lines(block: bytes, *, blank_is_space: bool = True) -> Lines:
    r"""Turns a block of text into its non-blank lines.

    Args:
        block: text in UTF-8 or another encoding that keeps ASCII.
        blank_is_space: whether a line of nothing but spaces and tabs is blank, too (in JSON
            lines it is; in CSV it is a record of one field).

    >>> lines = split_lines(b"a\r\n\n  \nb")
    >>> [lines[i] for i in range(len(lines))]
    [b'a', b'b']
    """
    data = np.frombuffer(block, np.uint8)
    ends = np.flatnonzero(data == _NEWLINE)
    starts = np.empty(len(ends) + 1, np.int64)
    starts[0], starts[1:] = 0, ends + 1
    ends = np.append(ends, len(block)) if starts[-1] < len(block) else ends
    starts = starts[: len(ends)]
    if b"\r" in block and len(ends):
        returned = (ends > starts) & (data[np.maximum(ends - 1, 0)] == _RETURN)
        ends = ends - returned
    filled = ends > starts
    if blank_is_space:
        _drop_spaces(block, data, starts, ends, filled)
    return (
        Lines(block, starts, ends) if filled.all() else Lines(block, starts[filled], ends[filled])
    )


def _drop_spaces(
    block: bytes,
    data: npt.NDArray[np.uint8],
    starts: npt.NDArray[np.int64],
    ends: npt.NDArray[np.int64],
    filled: npt.NDArray[np.bool_],
) -> None:
    """Clears `filled` for lines of nothing but white space."""
    first = data[np.minimum(starts, len(data) - 1)] if len(data) else data
    for index in np.flatnonzero(filled & (first <= _SPACE)).tolist():
        if block[starts[index] : ends[index]].strip(b" \t\r") == b"":
            filled[index] = False


def is_utf8(block: bytes) -> bool:
    r"""Tells whether bytes are valid UTF-8, at memory speed.

    >>> is_utf8("é".encode()), is_utf8(b"\xff")
    (True, False)
    """
    if len(block) >= 2**31:
        raise ValueError(f"expected a block below 2 GiB, got {len(block)} bytes")
    offsets = pa.py_buffer(np.array([0, len(block)], np.int32).tobytes())
    text = pa.StringArray.from_buffers(1, offsets, pa.py_buffer(block))
    try:
        text.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def lines_not_utf8(lines: Lines) -> npt.NDArray[np.int64]:
    """Returns the indices of the lines that are not valid UTF-8."""
    if is_utf8(lines.block):
        return np.empty(0, np.int64)
    high = np.flatnonzero(np.frombuffer(lines.block, np.uint8) >= 0x80)
    suspects = [index for index in lines.holding(high).tolist() if not _decodes(lines[index])]
    return np.array(suspects, np.int64)


def _decodes(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True
