"""Turns a seed into the same rows as JSON lines, CSV, Avro and Parquet, and a model for them.

A row has an id, two timestamps as text, three categories, 16 floats of six decimals, 4 integers and
a note of some words. A line of JSON is about 500 bytes. Notes hold what real ones do: some have a
comma, some a quote, some letters beyond ASCII. Each format is written by a library's own writer,
none by scoreline's; every Avro field is a union with null, as Spark and BigQuery write them, and
its blocks are not compressed, so that zlib's time does not hide the decoder's.

Run by format_inputs.py::

    python benchmarks/format_data.py rows 1000000 out.jsonl out.csv out.avro out.parquet
    python benchmarks/format_data.py broken json 100 clean.jsonl out.jsonl
    python benchmarks/format_data.py copies json 10 clean.jsonl out.jsonl
    python benchmarks/format_data.py model out.joblib
"""

import csv
import re
import shutil
import sys
from collections.abc import Callable
from contextlib import ExitStack
from itertools import cycle
from pathlib import Path
from typing import Any

import fastavro
import joblib
import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from format_inputs import FLOATS, INTEGERS, STRINGS
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

CHUNK_ROWS = 50_000  # rows that are Python objects at one time, and the row group
TRAIN_ROWS = 50_000

_SEED = 20_240_608
_START = np.datetime64("2024-01-01T00:00:00")
_YEAR_SECS = 365 * 24 * 3600
_CATEGORIES = {
    "country": ["AT", "BR", "CH", "DE", "FR", "IN", "JP", "US"],
    "plan": ["basic", "family", "gold", "student", "trial"],
    "device": ["android", "ios", "tablet", "web"],
}
_WORDS = ("late", "paid", "moved", "called", "refund", "waits", "asks", "twice", "address", "phone")
_SPECIAL = (", again", ', says "no"', " in Zürich", ", naïve")  # one note in four has one of them
_NOTES = 4096  # different ones
_SPOILED = "f03"  # gets a word where a number should be
_MARKED = "plan"  # gets a byte that no UTF-8 has


def chunk(number: int) -> pa.Table:
    """Turns a chunk's number into its CHUNK_ROWS rows."""
    random = np.random.default_rng([_SEED, number])
    first = number * CHUNK_ROWS
    columns: dict[str, Any] = {"id": np.arange(first, first + CHUNK_ROWS)}
    for name in ("created", "updated"):
        columns[name] = _times(random)
    for name, values in _CATEGORIES.items():
        columns[name] = _drawn(values, random)
    for name in FLOATS:
        columns[name] = np.round(random.standard_normal(CHUNK_ROWS), 6)
    for name in INTEGERS:
        columns[name] = random.integers(0, 1000, CHUNK_ROWS)
    columns["note"] = _drawn(_notes(), random)
    return pa.table(columns)


def write_rows(num_rows: int, paths: list[Path]) -> None:
    """Writes the first `num_rows` rows in four formats, holding one chunk at a time."""
    partials = [path.with_suffix(".partial-" + path.suffix[1:]) for path in paths]
    schema = chunk(0).schema
    with ExitStack() as stack:
        lines, avro = (stack.enter_context(partials[index].open("wb")) for index in (0, 2))
        text = stack.enter_context(partials[1].open("w", encoding="utf-8", newline=""))
        table = csv.writer(text, lineterminator="\n")
        table.writerow(schema.names)
        blocks = fastavro.write.Writer(avro, fastavro.parse_schema(_avro_schema(schema)))
        parquet = stack.enter_context(pq.ParquetWriter(partials[3], schema))
        for number, start in enumerate(range(0, num_rows, CHUNK_ROWS)):
            rows = chunk(number).slice(0, num_rows - start)
            parquet.write_table(rows)
            for row in rows.to_pylist():
                lines.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
                table.writerow(row.values())
                blocks.write(row)
        blocks.flush()
    for partial, path in zip(partials, paths, strict=True):
        partial.rename(path)


def write_broken(format_: str, every: int, clean: Path, path: Path) -> None:
    """Copies a text file; one record in `every` is malformed, in each of four ways in turn."""
    ways = cycle(_WAYS[format_])
    partial = path.with_suffix(".partial")
    with clean.open("rb") as source, partial.open("wb") as target:
        if format_ == "csv":
            target.write(source.readline())
        for row, line in enumerate(source):
            target.write(next(ways)(line) if row % every == every // 2 else line)
    partial.rename(path)


def write_copies(format_: str, copies: int, clean: Path, path: Path) -> None:
    """Writes the rows of a text file several times over; a header stands once."""
    partial = path.with_suffix(".partial")
    with clean.open("rb") as source, partial.open("wb") as target:
        header = source.readline() if format_ == "csv" else b""
        target.write(header)
        for _ in range(copies):
            source.seek(len(header))
            shutil.copyfileobj(source, target, 2**20)
    partial.rename(path)


def write_model(path: Path) -> None:
    """Fits a linear pipeline on a frame of the 20 named numbers and saves it."""
    frame = chunk(0).slice(0, TRAIN_ROWS).select([*FLOATS, *INTEGERS]).to_pandas()
    noise = np.random.default_rng(_SEED).standard_normal(len(frame))
    labels = frame["f00"] + frame["f01"] + frame["n00"] / 500 + 0.5 * noise > 1
    partial = path.with_suffix(".partial")
    joblib.dump(make_pipeline(StandardScaler(), LogisticRegression()).fit(frame, labels), partial)
    partial.rename(path)


def _times(random: np.random.Generator) -> NDArray[np.str_]:
    secs = random.integers(0, _YEAR_SECS, CHUNK_ROWS).astype("timedelta64[s]")
    return np.datetime_as_string(_START + secs, timezone="UTC")


def _drawn(values: list[str], random: np.random.Generator) -> pa.StringArray:
    codes = random.integers(len(values), size=CHUNK_ROWS, dtype=np.int32)
    return pa.DictionaryArray.from_arrays(codes, values).cast(pa.string())


def _notes() -> list[str]:
    random = np.random.default_rng(_SEED)
    words = random.choice(_WORDS, size=(_NOTES, 12))
    ends = [*_SPECIAL, *[""] * (3 * len(_SPECIAL))]
    return [" ".join(some) + ends[i % len(ends)] for i, some in enumerate(words)]


def _avro_schema(schema: pa.Schema) -> dict[str, Any]:
    names = {pa.int64(): "long", pa.float64(): "double", pa.string(): "string"}
    fields = [{"name": field.name, "type": ["null", names[field.type]]} for field in schema]
    return {"type": "record", "name": "row", "fields": fields}


def _half(line: bytes) -> bytes:
    return line[: len(line) // 2] + b"\n"


def _json_wrong_type(line: bytes) -> bytes:
    return re.sub(rb'("%s":)[^,]+' % _SPOILED.encode(), rb'\1"three"', line)


def _json_not_utf8(line: bytes) -> bytes:
    return line.replace(b'"%s":"' % _MARKED.encode(), b'"%s":"\xff' % _MARKED.encode())


def _json_too_much(line: bytes) -> bytes:
    return line.rstrip(b"\n") + b' {"id":0}\n'


def _csv_wrong_type(line: bytes) -> bytes:
    fields = line.split(b",")  # none before the numbers has a comma
    fields[1 + len(STRINGS) + FLOATS.index(_SPOILED)] = b"three"
    return b",".join(fields)


def _csv_not_utf8(line: bytes) -> bytes:
    fields = line.split(b",")
    fields[1 + STRINGS.index(_MARKED)] += b"\xff"
    return b",".join(fields)


def _csv_too_much(line: bytes) -> bytes:
    return line.rstrip(b"\n") + b",surplus\n"


_WAYS: dict[str, tuple[Callable[[bytes], bytes], ...]] = {
    "json": (_half, _json_wrong_type, _json_not_utf8, _json_too_much),
    "csv": (_half, _csv_wrong_type, _csv_not_utf8, _csv_too_much),
}


def main(what: str, *arguments: str) -> None:
    """Makes what the command line asks for."""
    if what == "rows":
        write_rows(int(arguments[0]), [Path(path) for path in arguments[1:]])
    elif what == "model":
        write_model(Path(arguments[0]))
    else:
        write = write_broken if what == "broken" else write_copies
        write(arguments[0], int(arguments[1]), Path(arguments[2]), Path(arguments[3]))


if __name__ == "__main__":
    main(*sys.argv[1:])
