"""Text files (JSON lines and CSV): what their first lines say, how they are cut, how they are read.

Plain text is cut into byte ranges that are read in parallel. Compressed text, and CSV whose quoted
fields may hold line breaks, can only be understood from the start: one worker streams the file.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import BinaryIO, Literal, Protocol

import pyarrow as pa

from scoreline.models.reserved import REJECTED_KEY, metadata_of, with_metadata

from .byte_ranges import Block, read_blocks
from .formats.compressed_text import (
    PEEK_BYTES,
    CorruptInputError,
    detect_compression,
    open_compressed,
)
from .formats.csv_dialect import CsvDialect, likely_delimiter, sniff_header
from .formats.csv_lines import CsvDecoder
from .formats.csv_quotes import open_record_start
from .formats.csv_schema import infer_csv_schema
from .formats.json_lines import JsonLinesDecoder
from .formats.json_schema import infer_json_schema
from .formats.lines import UTF8_BOM
from .formats.records import Decoded, Reject, Rejects
from .formats.settled import settled
from .identity import identify_records
from .parquet_files import UnreadableFileError, check_columns
from .storage import open_file, size_of

_RANGE_BYTES = 32 * 2**20  # enough ranges for a cluster; a part of predictions of a usual size
_SAMPLE_BYTES = 4 * 2**20  # of the first lines, from which the columns' types are told
_MAX_SAMPLES = 16  # of so many bytes, if the first lines are that long
_MAX_OPEN_BYTES = 4 * 2**20  # a quoted field that is longer: nobody means that, a mark is stray
_PAYLOAD_BYTES = 2**20  # of a line that is too long to be read, this much is kept

TextFormat = Literal["json", "csv"]


class _Decoder(Protocol):
    def decode(self, block: bytes) -> Decoded:
        """Turns a block of whole records into rows and malformed records."""


@dataclass(frozen=True)
class TextReading:
    """How the text of a file becomes columns.

    Attributes:
        format: `json` or `csv`.
        schema: all columns with their types; null where no value was seen yet.
        dialect: of CSV, with the names of all columns.
        header_bytes: of what stands before the first record: a byte order mark, the names of CSV.
        is_compressed: whether the file is, by its name or by its first bytes.
    """

    format: TextFormat
    schema: pa.Schema
    dialect: CsvDialect
    header_bytes: int = 0
    is_compressed: bool = False

    @property
    def is_sequential(self) -> bool:
        """Whether one worker has to read a file from its start to its end."""
        return self.is_compressed or self.dialect.newlines_in_values

    def decoder(self, columns: tuple[str, ...] | None) -> _Decoder:
        """Turns blocks into these columns; all of them if None."""
        schema = settled(self.schema)
        if columns is not None:
            schema = pa.schema([schema.field(name) for name in columns])
        if self.format == "json":
            return JsonLinesDecoder(schema)
        return CsvDecoder(self.dialect, schema)


@dataclass(frozen=True)
class ByteRange:
    """The lines of a file whose first byte lies in [start, stop); to its end if stop is None."""

    path: str
    start: int
    stop: int | None
    reading: TextReading

    num_rows = None  # nobody knows before they are read

    def read(self, split: int, columns: tuple[str, ...] | None) -> Iterator[pa.RecordBatch]:
        """Reads batches of good rows, and batches of malformed records, which say `rejected`.

        Raises:
            UnreadableFileError: the file is gone or became shorter, or its compressed stream is
                damaged.
            ValueError: a column is not there.
        """
        check_columns(columns or (), self.reading.schema.names, self.path)
        decoder = self.reading.decoder(columns)
        offset = self.start
        try:
            for block in self._blocks():
                offset = block.offset
                decoded = _too_long(block) if block.too_long else decoder.decode(block.data)
                yield from self._batches(decoded, offset, split)
                offset += len(block.data)
        except (CorruptInputError, OSError) as error:
            raise UnreadableFileError(
                f"cannot read {self.path} from byte {offset} on: {error}"
            ) from error

    def _batches(self, decoded: Decoded, offset: int, split: int) -> Iterator[pa.RecordBatch]:
        if decoded.batch is not None:
            yield identify_records(decoded.batch, decoded.ordinals, self.path, offset, split)
        if decoded.rejects:
            records = decoded.rejects.to_batch()
            ordinals = records.column("ordinal")
            rejected = identify_records(records, ordinals, self.path, offset, split)
            yield with_metadata(rejected, rejected="decode")

    def _blocks(self) -> Iterator[Block]:
        header_bytes = self.reading.header_bytes
        with open_file(self.path) as file:
            if self.reading.is_compressed:
                plain = open_compressed(file, self.path)
                plain.read(header_bytes)
                blocks = _shifted(read_blocks(plain), header_bytes)
            else:
                blocks = read_blocks(file, self.start, self.stop, first=header_bytes)
            if self.reading.dialect.newlines_in_values:
                blocks = _whole_records(blocks, self.reading.dialect)
            yield from blocks


def _shifted(blocks: Iterator[Block], by: int) -> Iterator[Block]:
    for block in blocks:
        yield replace(block, offset=block.offset + by)


def _whole_records(blocks: Iterator[Block], dialect: CsvDialect) -> Iterator[Block]:
    """Cuts blocks of whole lines into blocks of whole records, whose fields may hold line ends.

    Where a quoted field does not close, its first line becomes a block of its own, which the
    decoder rejects, and the next line starts afresh: a stray mark does not swallow the rest.
    """
    waiting = Block(0, b"")
    for block in blocks:
        if block.too_long:
            yield from _parted(waiting, dialect, 0)[:-1]
            yield block
            waiting = Block(0, b"")
            continue
        start = waiting.offset if waiting.data else block.offset
        joined = Block(start, waiting.data + block.data)
        *whole, waiting = _parted(joined, dialect, _MAX_OPEN_BYTES)
        yield from whole
    yield from _parted(waiting, dialect, 0)[:-1]


def _parted(block: Block, dialect: CsvDialect, max_open_bytes: int) -> list[Block]:
    """Cuts a block before records that stay open; the last one, maybe empty, is to be continued."""
    offset, data = block.offset, block.data
    parts = []
    while data:
        cut = open_record_start(data, dialect)
        if cut == 0 and len(data) <= max_open_bytes:
            break
        if cut is None:
            cut = len(data)
        elif cut == 0:
            cut = data.find(b"\n") + 1 or len(data)
        parts.append(Block(offset, data[:cut]))
        offset, data = offset + cut, data[cut:]
    return [*parts, Block(offset, data)]


def _too_long(block: Block) -> Decoded:
    reject = Reject(
        0,
        "too_long",
        "RecordTooLong",
        f"a line longer than {len(block.data):,} bytes; its first {_PAYLOAD_BYTES:,} are kept",
        block.data[:_PAYLOAD_BYTES],
    )
    return Decoded(None, pa.array([], pa.int64()), Rejects((reject,)))


@dataclass(frozen=True)
class TextInfo:
    """What the first lines of a text file say.

    Attributes:
        path: the file.
        num_bytes: its size as stored.
        reading: its columns, and how to read them.
    """

    path: str
    num_bytes: int
    reading: TextReading

    num_rows = None

    @property
    def schema(self) -> pa.Schema:
        """All columns; text where no value was seen."""
        return settled(self.reading.schema)

    @property
    def is_sequential(self) -> bool:
        """Whether one worker has to read the file from its start to its end."""
        return self.reading.is_sequential

    def head(self, columns: tuple[str, ...]) -> Iterator[pa.RecordBatch]:
        """The first good rows, with these columns: one batch, or none if there is no good row."""
        first = ByteRange(self.path, 0, min(_SAMPLE_BYTES, self.num_bytes), self.reading)
        for batch in first.read(0, columns):
            if not metadata_of(batch, REJECTED_KEY):
                yield batch
                return

    def typed(self, types: dict[str, pa.DataType]) -> "TextInfo":
        """The same file, with other types for some of its columns."""
        fields = [field.with_type(types.get(field.name, field.type)) for field in self.schema]
        return replace(self, reading=replace(self.reading, schema=pa.schema(fields)))

    def ranges(self) -> Iterator[tuple[ByteRange, int]]:
        """The file in pieces, each with its weight in bytes."""
        if self.is_sequential:
            stop = None if self.reading.is_compressed else self.num_bytes
            yield ByteRange(self.path, 0, stop, self.reading), self.num_bytes
            return
        for start in range(0, self.num_bytes, _RANGE_BYTES):
            stop = min(start + _RANGE_BYTES, self.num_bytes)
            yield ByteRange(self.path, start, stop, self.reading), stop - start


def inspect_text(path: str, format_: TextFormat, dialect: CsvDialect) -> TextInfo:
    """Reads the first lines of a file and tells its columns and their types.

    Raises:
        UnreadableFileError: it is empty, or its first lines are no records of this format.
    """
    try:
        num_bytes = size_of(path)
        with open_file(path) as file:
            is_compressed = detect_compression(path, file.read(PEEK_BYTES)) is not None
            file.seek(0)
            reading = _reading(_sample(open_compressed(file, path)), format_, dialect)
    except (CorruptInputError, OSError, ValueError, pa.ArrowException) as error:
        raise UnreadableFileError(f"cannot read {path} as {format_}: {error}") from error
    return TextInfo(path, num_bytes, replace(reading, is_compressed=is_compressed))


def _sample(stream: BinaryIO) -> bytes:
    """The first lines: at least two, however long they are."""
    pieces = [stream.read(_SAMPLE_BYTES)]
    lines = pieces[0].count(b"\n")
    while len(pieces[-1]) == _SAMPLE_BYTES and lines < 2 and len(pieces) < _MAX_SAMPLES:
        pieces.append(stream.read(_SAMPLE_BYTES))
        lines += pieces[-1].count(b"\n")
    sample = b"".join(pieces)
    return sample if len(pieces[-1]) < _SAMPLE_BYTES else sample[: sample.rfind(b"\n") + 1]


def _reading(sample: bytes, format_: TextFormat, dialect: CsvDialect) -> TextReading:
    if format_ == "json":
        mark = len(UTF8_BOM) if sample.startswith(UTF8_BOM) else 0
        return TextReading("json", infer_json_schema(sample), CsvDialect(), mark)
    if b"\r" in sample and b"\n" not in sample:
        raise ValueError(
            "its lines end in bare carriage returns: convert them to line feeds, for instance with "
            "tr '\\r' '\\n'."
        )
    header = sniff_header(sample, dialect)
    if len(header.names) == 1 and (other := likely_delimiter(sample, dialect)) is not None:
        raise ValueError(
            f"the first line is one column, {header.names[0]!r}. It looks as if the delimiter were "
            f"{other!r}: give it with --csv-delimiter (source.csv.delimiter)."
        )
    named = dialect.with_names(header.names)
    rows = sample[header.num_bytes :]
    if not rows.strip():
        schema = pa.schema([(name, pa.null()) for name in header.names])
    else:
        schema = infer_csv_schema(rows, named)
    return TextReading("csv", schema, named, header.num_bytes)
