"""Text files (JSON lines and CSV): what their first lines say, how they are cut, how they are read.

Plain text is cut into byte ranges that are read in parallel. Compressed text, and CSV whose quoted
fields may hold line breaks, can only be understood from the start: one worker streams the file.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, Protocol

import pyarrow as pa

from scoreline.models.reserved import REJECTED_KEY, metadata_of, with_metadata

from .byte_ranges import Block, read_blocks
from .formats.compressed_text import CorruptInputError, compression_of, open_compressed
from .formats.csv_dialect import CsvDialect, likely_delimiter, sniff_header
from .formats.csv_lines import CsvDecoder
from .formats.csv_quotes import open_record_start
from .formats.csv_schema import infer_csv_schema
from .formats.json_lines import JsonLinesDecoder
from .formats.json_schema import infer_json_schema
from .formats.records import Decoded, Reject, Rejects
from .identity import identify_records
from .parquet_files import UnreadableFileError
from .storage import open_file, size_of

_RANGE_BYTES = 32 * 2**20  # enough ranges for a cluster; a part of predictions of a usual size
_SAMPLE_BYTES = 4 * 2**20  # of the first lines, from which the columns' types are told
_PAYLOAD_BYTES = 2**20  # of a line that is too long to be read, this much is kept

TextFormat = Literal["json", "csv"]


class _Decoder(Protocol):
    def decode(self, block: bytes) -> Decoded: ...


@dataclass(frozen=True)
class TextReading:
    """How the text of a file becomes columns.

    Attributes:
        format: `json` or `csv`.
        schema: all columns with their types.
        dialect: of CSV, with the names of all columns.
        header_bytes: of the first line of CSV, which is no record.
    """

    format: TextFormat
    schema: pa.Schema
    dialect: CsvDialect
    header_bytes: int = 0

    def decoder(self, columns: tuple[str, ...] | None) -> _Decoder:
        """Turns blocks into these columns; all of them if None."""
        schema = self.schema
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
            UnreadableFileError: the file is gone, or its compressed stream is damaged.
        """
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
        start = max(self.start, self.reading.header_bytes)
        with open_file(self.path) as file:
            if compression_of(self.path) is None:
                blocks = read_blocks(file, start, self.stop)
            else:
                plain = open_compressed(file, self.path)
                plain.read(self.reading.header_bytes)
                blocks = _shifted(read_blocks(plain), self.reading.header_bytes)
            if self.reading.dialect.newlines_in_values:
                blocks = _whole_records(blocks, self.reading.dialect)
            yield from blocks


def _shifted(blocks: Iterator[Block], by: int) -> Iterator[Block]:
    for block in blocks:
        yield replace(block, offset=block.offset + by)


def _whole_records(blocks: Iterator[Block], dialect: CsvDialect) -> Iterator[Block]:
    """Cuts blocks of whole lines into blocks of whole records, whose fields may hold line ends."""
    waiting = Block(0, b"")
    for block in blocks:
        if block.too_long:
            yield from (waiting, block) if waiting.data else (block,)
            waiting = Block(0, b"")
            continue
        start = waiting.offset if waiting.data else block.offset
        data = waiting.data + block.data
        cut = open_record_start(data, dialect)
        if cut is None or len(data) - cut > _SAMPLE_BYTES * 16:  # a quote that nobody closes
            cut = len(data)
        if cut:
            yield Block(start, data[:cut])
        waiting = Block(start + cut, data[cut:])
    if waiting.data:
        yield waiting


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
        """All columns."""
        return self.reading.schema

    @cached_property
    def is_sequential(self) -> bool:
        """Whether one worker has to read the file from its start to its end."""
        newlines = self.reading.format == "csv" and self.reading.dialect.newlines_in_values
        return newlines or compression_of(self.path) is not None

    def head(self, columns: tuple[str, ...]) -> Iterator[pa.RecordBatch]:
        """The good rows of the first block, with these columns."""
        first = ByteRange(self.path, 0, _SAMPLE_BYTES, self.reading)
        for batch in first.read(0, columns):
            if not metadata_of(batch, REJECTED_KEY):
                yield batch

    def typed(self, types: dict[str, pa.DataType]) -> "TextInfo":
        """The same file, with other types for some of its columns."""
        fields = [field.with_type(types.get(field.name, field.type)) for field in self.schema]
        return replace(self, reading=replace(self.reading, schema=pa.schema(fields)))

    def ranges(self) -> Iterator[tuple[ByteRange, int]]:
        """The file in pieces, each with its weight in bytes."""
        if self.is_sequential:
            yield ByteRange(self.path, 0, None, self.reading), self.num_bytes
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
            sample = open_compressed(file, path).read(_SAMPLE_BYTES)
        reading = _reading(sample, format_, dialect)
    except (CorruptInputError, OSError, ValueError, pa.ArrowException) as error:
        raise UnreadableFileError(f"cannot read {path} as {format_}: {error}") from error
    return TextInfo(path, num_bytes, reading)


def _reading(sample: bytes, format_: TextFormat, dialect: CsvDialect) -> TextReading:
    whole = sample if len(sample) < _SAMPLE_BYTES else sample[: sample.rfind(b"\n") + 1]
    if format_ == "json":
        return TextReading("json", infer_json_schema(whole), CsvDialect())
    header = sniff_header(whole, dialect)
    if len(header.names) == 1 and (other := likely_delimiter(whole, dialect)) is not None:
        raise ValueError(
            f"the first line is one column, {header.names[0]!r}. It looks as if the delimiter were "
            f"{other!r}: give it with --csv-delimiter (source.csv.delimiter)."
        )
    named = dialect.with_names(header.names)
    rows = whole[header.num_bytes :]
    if not rows.strip():
        schema = pa.schema([(name, pa.string()) for name in header.names])
    else:
        schema = infer_csv_schema(rows, named)
    return TextReading("csv", schema, named, header.num_bytes)
