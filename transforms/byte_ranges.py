"""Cuts text into blocks of whole lines, within one byte range of a file or one whole stream.

A line belongs to the range that its first byte lies in. So ranges that cover a file without gaps
give every line exactly once, wherever the cuts fall.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

_BLOCK_BYTES = 4 * 2**20  # the knee for both text decoders; a block and its columns stay small
_MAX_LINE_BYTES = 64 * 2**20  # a longer line is rejected: what has no line end must not fill memory
_STEP_BYTES = 2**18


@dataclass(frozen=True)
class Block:
    """Whole lines of a file.

    Attributes:
        offset: of the first byte, in the file (in the decompressed text of a compressed one).
        data: the lines with their ends. The last line of a file may lack its end.
        too_long: whether this is the beginning of one line that is longer than we read.
    """

    offset: int
    data: bytes
    too_long: bool = False


def read_blocks(
    file: BinaryIO,
    start: int = 0,
    stop: int | None = None,
    *,
    first: int = 0,
    block_bytes: int = _BLOCK_BYTES,
    max_line_bytes: int = _MAX_LINE_BYTES,
) -> Iterator[Block]:
    r"""Reads the lines whose first byte lies in [start, stop).

    Args:
        file: binary; seekable if `start` or `first` is not 0.
        start: a byte offset.
        stop: a byte offset, None for the end of the file.
        first: where the file's first line starts: behind a byte order mark or a header.
        block_bytes: about how much to give at a time.
        max_line_bytes: of a longer line only so much is given, as a block of its own.

    Raises:
        OSError: the file ends before `stop`.

    >>> import io
    >>> [block.data for block in read_blocks(io.BytesIO(b"ab\ncd\nef"), 1, 4)]
    [b'cd\n']
    """
    reader = _Reader(file, max_line_bytes)
    if start > first:
        # A range that starts right behind a line end starts with a whole line.
        reader.seek(start - 1)
        reader.skip_line()
    elif first:
        reader.seek(first)
    while stop is None or reader.offset < stop:
        left = None if stop is None else stop - reader.offset
        if left is not None and left <= block_bytes * 5 // 4:  # leaves no small rest
            block = reader.read(left, is_last=True)
        else:
            block = reader.read(block_bytes)
        if block is not None:
            yield block
        elif stop is None:
            return
        else:
            raise OSError(
                f"expected at least {stop:,} bytes, as when the run was planned, but it ends "
                f"after {reader.offset:,}. Was it replaced?"
            )


class _Reader:
    """Reads on from a line's start; `offset` is where the next line starts."""

    def __init__(self, file: BinaryIO, max_line_bytes: int):
        self.offset = 0
        self._file = file
        self._max_line_bytes = max_line_bytes
        self._ahead = b""

    def seek(self, offset: int) -> None:
        """Goes on from there."""
        self._file.seek(offset)
        self.offset = offset

    def skip_line(self) -> None:
        """Moves behind the next line end."""
        while True:
            data = self._take(_STEP_BYTES)
            end = data.find(b"\n")
            if end >= 0 or not data:
                self.offset += end + 1
                self._ahead = data[end + 1 :]
                return
            self.offset += len(data)

    def read(self, want: int, *, is_last: bool = False) -> Block | None:
        """The whole lines in the next `want` bytes, but at least one; None at the file's end.

        The last block of a range takes the line that it cuts along: a batch of one row costs a
        model as much as one of many.
        """
        data = self._take(want)
        if not data:
            return None
        end = data.rfind(b"\n") if len(data) == want else len(data) - 1
        if end < 0:
            return self._read_line(data)
        if is_last and end + 1 < len(data):
            more = self._take(_STEP_BYTES)
            stop = more.find(b"\n") if more else 0
            if 0 <= stop <= self._max_line_bytes - (len(data) - end - 1):
                self._ahead = more[stop + 1 :] + self._ahead
                return self._block(data + more[: stop + 1])
            data += more
        self._ahead = data[end + 1 :] + self._ahead
        return self._block(data[: end + 1])

    def _read_line(self, data: bytes) -> Block:
        """One line to its end; what is too long of it is only counted."""
        pieces, size, end = [data], len(data), -1
        while end < 0 and (more := self._take(_STEP_BYTES)):
            end = more.find(b"\n")
            piece = more if end < 0 else more[: end + 1]
            if size <= self._max_line_bytes:
                pieces.append(piece)
            size += len(piece)
            if end >= 0:
                self._ahead = more[end + 1 :] + self._ahead
        if size - (end >= 0) <= self._max_line_bytes:
            return self._block(b"".join(pieces))
        block = Block(self.offset, b"".join(pieces)[: self._max_line_bytes], too_long=True)
        self.offset += size
        return block

    def _block(self, data: bytes) -> Block:
        block = Block(self.offset, data)
        self.offset += len(data)
        return block

    def _take(self, size: int) -> bytes:
        """Up to `size` bytes, fewer only at the end of the file."""
        pieces, have = [self._ahead], len(self._ahead)
        while have < size and (more := self._file.read(size - have)):
            pieces.append(more)
            have += len(more)
        data = b"".join(pieces) if len(pieces) > 1 else self._ahead
        self._ahead = data[size:]
        return data[:size]
