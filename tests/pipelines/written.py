"""The same rows in every format, with every way to compress text, and ways to read them back."""

import bz2
import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fastavro
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.json as pa_json
import pyarrow.parquet as pq

COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".zst": lambda data: pa.compress(data, "zstd", asbytes=True),
}
_AVRO = {"double": "double", "int64": "long", "string": "string", "bool": "boolean"}


def csv_text(table: pa.Table) -> bytes:
    """CSV with a header and `\\n`."""
    sink = io.BytesIO()
    pa_csv.write_csv(table, sink)
    return sink.getvalue()


def json_text(table: pa.Table) -> bytes:
    """JSON lines."""
    return b"".join(json.dumps(row).encode() + b"\n" for row in table.to_pylist())


def avro_bytes(table: pa.Table, codec: str = "null") -> bytes:
    """An Avro file whose columns may all be null."""
    fields = [
        {"name": field.name, "type": ["null", _AVRO[str(field.type)]]} for field in table.schema
    ]
    schema = {"type": "record", "name": "row", "fields": fields}
    sink = io.BytesIO()
    fastavro.writer(sink, schema, table.to_pylist(), codec=codec)
    return sink.getvalue()


def write_as(path: Path, table: pa.Table) -> Path:
    """Writes a table in the format that the path names, compressed if it says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    compress = COMPRESS.get(path.suffix)
    suffix = Path(path.stem).suffix if compress else path.suffix
    if suffix == ".parquet":
        pq.write_table(table, path)
        return path
    encode = {".csv": csv_text, ".jsonl": json_text, ".avro": avro_bytes}[suffix]
    data = encode(table)
    path.write_bytes(compress(data) if compress else data)
    return path


def read_back(path: Path) -> list[dict[str, Any]]:
    """The rows of one file, or of all parts in a folder, by other libraries than ours."""
    files = sorted(path.glob("part-*")) if path.is_dir() else [path]
    return [row for file in files for row in _rows(file)]


def _rows(path: Path) -> list[dict[str, Any]]:
    if ".avro" in path.suffixes:
        with path.open("rb") as file:
            return list(fastavro.reader(file))  # type: ignore[arg-type]
    if ".parquet" in path.suffixes:
        return pq.read_table(path).to_pylist()
    with pa.input_stream(path) as stream:  # decompresses by the extension
        data = io.BytesIO(stream.read())
    if ".csv" in path.suffixes:
        return pa_csv.read_csv(data).to_pylist()
    return pa_json.read_json(data).to_pylist() if data.getbuffer().nbytes else []
