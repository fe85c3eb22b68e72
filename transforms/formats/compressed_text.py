"""Reads and writes compressed text as a stream of its plain bytes."""

import io
from pathlib import PurePosixPath
from typing import Any, BinaryIO, Final, cast

import pyarrow as pa

_CODECS: Final = {".gz": "gzip", ".zst": "zstd", ".bz2": "bz2"}
_MAGIC: Final = {"gzip": b"\x1f\x8b", "zstd": b"\x28\xb5\x2f\xfd", "bz2": b"BZh"}
# Stands after the magic and one digit. "BZh" alone could be the start of a column's name.
_BZ2_BLOCK: Final = b"1AY&SY"
PEEK_BYTES: Final = 10  # of a file, to tell its compression
_BUFFER_BYTES: Final = 1 << 20  # of plain bytes per call into the decompressor


class CorruptInputError(ValueError):
    """A compressed file whose bytes cannot be decompressed."""


class TruncatedInputError(CorruptInputError):
    """A compressed file that ends before its stream does; what came before it was read."""


def compression_of(path: str) -> str | None:
    """Turns a path into the compression that its extension names: gzip, zstd, bz2 or None.

    >>> compression_of("gs://bucket/rows.jsonl.GZ"), compression_of("rows.jsonl")
    ('gzip', None)
    """
    return _CODECS.get(PurePosixPath(path).suffix.lower())


def detect_compression(path: str, start: bytes) -> str | None:
    r"""Turns a path and the file's first bytes into its compression; the extension goes before.

    >>> detect_compression("rows.csv", b"\x1f\x8b\x08"), detect_compression("rows.csv", b"a,b\n")
    ('gzip', None)
    """
    return compression_of(path) or _sniff(start[:PEEK_BYTES])


def open_compressed(file: BinaryIO, path: str) -> BinaryIO:
    r"""Turns an open file into a stream of its plain bytes; text that is not compressed stays so.

    The extension decides; without one that names a compression, the first bytes do. Members that
    stand one after the other (`cat a.gz b.gz`) are read as one text. Memory stays constant.

    Args:
        file: at its start; closing the stream closes it.
        path: for the extension, and for messages.

    Raises:
        TruncatedInputError: (while reading) the file is cut short.
        CorruptInputError: (while reading) the bytes are damaged, or no such compression.

    >>> import gzip
    >>> open_compressed(io.BytesIO(gzip.compress(b"a\nb\n")), "rows.csv.gz").readlines()
    [b'a\n', b'b\n']
    """
    # A BufferedReader asks no more of a file than readinto, readable, seekable and close.
    buffered: Any = file if hasattr(file, "peek") else io.BufferedReader(cast(Any, file))
    codec = detect_compression(path, buffered.peek(PEEK_BYTES)[:PEEK_BYTES])
    return (
        buffered
        if codec is None
        else io.BufferedReader(_Plain(buffered, path, codec), _BUFFER_BYTES)
    )


def compress_into(file: BinaryIO, codec: str) -> Any:
    """Turns a file open for writing into a stream whose bytes it gets compressed.

    Whoever closes the stream writes its end; the file stays open.

    >>> file = io.BytesIO()
    >>> with compress_into(file, "gzip") as stream:
    ...     _ = stream.write(b"text")
    >>> open_compressed(io.BytesIO(file.getvalue()), "a.gz").read()
    b'text'
    """
    return pa.CompressedOutputStream(pa.PythonFile(_Kept(file), mode="w"), codec)


class _Kept(io.RawIOBase):
    """A file that outlives the stream that writes to it: Arrow's streams close theirs."""

    def __init__(self, file: BinaryIO):
        self._file = file

    def writable(self) -> bool:
        """Always: the only thing that it is for."""
        return True

    def write(self, data: Any) -> int:
        """Hands on some bytes."""
        return self._file.write(data)


def _sniff(start: bytes) -> str | None:
    for codec, magic in _MAGIC.items():
        if start.startswith(magic) and (codec != "bz2" or start[4:] == _BZ2_BLOCK):
            return codec
    return None


class _Plain(io.RawIOBase):
    """The plain bytes of a compressed file, with errors that name it."""

    def __init__(self, file: BinaryIO, path: str, codec: str):
        self._file = file
        self._path = path
        self._codec = codec
        self._stream = pa.CompressedInputStream(pa.PythonFile(file, mode="r"), codec)

    def readable(self) -> bool:
        """Always: the only thing that it is for."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fills a buffer; 0 at the end."""
        try:
            data = self._stream.read(len(buffer))
        except OSError as error:
            raise self._named(error) from error
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Closes the compressed file too."""
        if not self.closed:
            self._file.close()
        super().close()

    def _named(self, error: OSError) -> Exception:
        """Tells what Arrow says of the data from what the file system says of the file."""
        if "Truncated compressed stream" in str(error):
            return TruncatedInputError(
                f"{self._path} is cut short: its {self._codec} stream has no end. Fetch it again."
            )
        if error.errno is None and "failed" in str(error):
            return CorruptInputError(f"{self._path} is no sound {self._codec} file: {error}")
        return error
