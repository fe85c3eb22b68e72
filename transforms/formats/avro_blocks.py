"""Reads the frame of an Avro object container file: its header and its blocks of raw records.

A block is: number of records, number of bytes, the bytes (compressed), the 16 bytes of the file's
sync marker. Reading the frame here, not in fastavro, is what tells a file that ends between two
blocks from one that is cut inside the next block's first number.
"""

import bz2
import io
import json
import lzma
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

import fastavro
import pyarrow as pa

from .avro_schema import to_arrow_schema

_MAGIC: Final = b"Obj\x01"
_SYNC_BYTES: Final = 16
_HEADER: Final = fastavro.parse_schema(
    {
        "type": "record",
        "name": "Header",
        "fields": [
            {"name": "meta", "type": {"type": "map", "values": "bytes"}},
            {"name": "sync", "type": {"type": "fixed", "name": "Sync", "size": _SYNC_BYTES}},
        ],
    }
)
_MAX_VARINT_BYTES: Final = 10
# Records of nulls alone take no bytes, so that a forged count could ask for any amount of memory.
_MAX_EMPTY_RECORDS: Final = 1_000_000


class CorruptAvroError(ValueError):
    """An Avro file that is damaged or cut short; says in which block and before which row."""


@dataclass(frozen=True)
class AvroInfo:
    """What the header of an Avro file says.

    Attributes:
        schema: the Arrow schema of the batches that are read from it.
        avro_schema: the writer's schema, as parsed from JSON.
        codec: null, deflate, snappy, ...
        sync: the marker that ends each block.
    """

    schema: pa.Schema
    avro_schema: dict[str, Any]
    codec: str
    sync: bytes


@dataclass(frozen=True)
class AvroBlock:
    """Raw records: `data`, decompressed, holds `num_rows` of them; `first_row` is the first's."""

    index: int
    first_row: int
    num_rows: int
    data: bytes


def inspect_avro(file: BinaryIO) -> AvroInfo:
    """Turns the header of an Avro file into its schema and codec; reads no block.

    Raises:
        CorruptAvroError: no Avro file, or one that ends inside its header.
        TypeError: a schema that has no Arrow form.
        ImportError: a codec that needs a package that is not installed.
    """
    magic = file.read(len(_MAGIC))
    if magic != _MAGIC:
        raise CorruptAvroError(f"no Avro file: it starts with {magic!r}, not with {_MAGIC!r}")
    try:
        header: Any = fastavro.schemaless_reader(file, _HEADER, None)
        meta = header["meta"]
        schema = json.loads(meta["avro.schema"])
        codec = meta.get("avro.codec", b"null").decode() or "null"
    except (EOFError, KeyError, ValueError, IndexError, MemoryError) as error:
        raise CorruptAvroError(f"the header of the Avro file is damaged: {error!r}") from error
    if codec not in _DECOMPRESS:
        raise ImportError(
            f"the Avro codec {codec!r} cannot be read here; these can: {', '.join(_DECOMPRESS)}. "
            "Write the file with one of them."
        )
    return AvroInfo(to_arrow_schema(schema), schema, codec, header["sync"])


def read_blocks(file: BinaryIO, info: AvroInfo) -> Iterator[AvroBlock]:
    """Yields the blocks of a file from which `inspect_avro` has just read the header.

    Raises:
        CorruptAvroError: a block that is cut short, damaged, or does not end with the marker.
    """
    index = row = 0
    while True:
        try:
            block = _read_block(file, info, index, row)
        except (EOFError, ValueError, OSError, zlib.error, lzma.LZMAError) as error:
            raise corrupt(index, row, error) from error
        if block is None:
            return
        yield block
        index += 1
        row += block.num_rows


def corrupt(block: int, row: int, why: object) -> CorruptAvroError:
    """Returns the error for a block; all rows before `row` were read well."""
    return CorruptAvroError(
        f"the Avro file is damaged or cut short in block {block}, at or after row {row}: {why}"
    )


def _read_block(file: BinaryIO, info: AvroInfo, index: int, row: int) -> AvroBlock | None:
    num_rows = _read_long(file, at_block=True)
    if num_rows is None:
        return None
    size = _read_long(file)
    if num_rows < 0 or size is None or size < 0:
        raise ValueError(f"it claims {num_rows} records in {size} bytes")
    stored = _read_exactly(file, size)
    if _read_exactly(file, _SYNC_BYTES) != info.sync:
        raise ValueError("it does not end with the file's sync marker")
    data = _DECOMPRESS[info.codec](stored)
    if num_rows > max(len(data), _MAX_EMPTY_RECORDS):
        raise ValueError(f"it claims {num_rows} records in {len(data)} bytes")
    return AvroBlock(index, row, num_rows, data)


def _read_long(file: BinaryIO, at_block: bool = False) -> int | None:
    """Reads a zigzag varint; None where the file ends, and only there, before a block."""
    value = 0
    for position in range(_MAX_VARINT_BYTES):
        byte = file.read(1)
        if not byte:
            if at_block and position == 0:
                return None
            raise EOFError("the file ends inside a number")
        value |= (byte[0] & 0x7F) << (7 * position)
        if byte[0] < 0x80:
            return (value >> 1) ^ -(value & 1)
    raise ValueError("a number is longer than 64 bits")


def _read_exactly(file: BinaryIO, size: int) -> bytes:
    data = file.read(size)
    if len(data) < size:
        raise EOFError(f"{size} bytes are due, {len(data)} are left")
    return data


def _inflate(stored: bytes) -> bytes:
    stream = zlib.decompressobj(-zlib.MAX_WBITS)  # bare deflate: no header, no checksum
    data = stream.decompress(stored)
    if not stream.eof:
        raise EOFError("its deflate stream has no end")
    return data


def _unsnap(stored: bytes) -> bytes:
    body, checksum = stored[:-4], stored[-4:]
    size = _snappy_size(body)
    data: bytes = pa.decompress(body, size, "snappy", asbytes=True)
    if zlib.crc32(data).to_bytes(4, "big") != checksum:
        raise ValueError("its checksum differs")
    return data


def _snappy_size(body: bytes) -> int:
    size = 0
    for position, byte in enumerate(body[:5]):
        size |= (byte & 0x7F) << (7 * position)
        if byte < 0x80:
            return size
    raise ValueError("its snappy header is damaged")


def _unzstd(stored: bytes) -> bytes:
    with pa.CompressedInputStream(pa.BufferReader(stored), "zstd") as stream:
        data: bytes = stream.read()
    return data


_DECOMPRESS: Final[dict[str, Callable[[bytes], bytes]]] = {
    "null": bytes,
    "deflate": _inflate,
    "snappy": _unsnap,
    "zstandard": _unzstd,
    "bzip2": bz2.decompress,
    "xz": lzma.decompress,
}


def avro_long(value: int) -> bytes:
    """Turns an integer into Avro's zigzag varint.

    >>> avro_long(64).hex()
    '8001'
    """
    value = (value << 1) ^ (value >> 63)
    encoded = io.BytesIO()
    while value > 0x7F:
        encoded.write(bytes([value & 0x7F | 0x80]))
        value >>= 7
    encoded.write(bytes([value]))
    return encoded.getvalue()
