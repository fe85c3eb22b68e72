"""Turns every row of a file into Python objects with a bare loop: the alternatives of formats.py.

What the formats' usual libraries cost by themselves: nothing is checked, scored or kept, and, but
for the last loop, nothing is written. Each imports no more than it needs.

::

    python benchmarks/format_loops.py json in.jsonl     # json.loads of each line
    python benchmarks/format_loops.py csv in.csv        # csv.reader, float() of the 20 numbers
    python benchmarks/format_loops.py avro in.avro      # fastavro.reader
    python benchmarks/format_loops.py parquet in.parquet out.jsonl  # to_pylist, orjson.dumps

The last line on stdout says how many rows there were, those included that raised an error.
"""

import sys
from pathlib import Path

from format_inputs import NUMBERS

BATCH_ROWS = 65_536  # pyarrow's own default


def json_loop(path: str) -> int:
    """Loads every line; one that does not load is counted and left out.

    The file is read as text because that is faster than giving `json.loads` bytes. Bytes that are
    no UTF-8 pass as they are: the loop would otherwise end at the first of them.
    """
    import json

    rows = broken = 0
    with Path(path).open(encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            try:
                json.loads(line)
                rows += 1
            except ValueError:
                broken += 1
    return rows + broken


def csv_loop(path: str) -> int:
    """Reads every record and converts its numbers; one that does not convert is left out."""
    import csv

    rows = broken = 0
    with Path(path).open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        reader = csv.reader(file)
        next(reader)
        for row in reader:
            try:
                [float(value) for value in row[NUMBERS]]
                rows += 1
            except ValueError:
                broken += 1
    return rows + broken


def avro_loop(path: str) -> int:
    """Reads every record."""
    import fastavro

    rows = 0
    with Path(path).open("rb") as file:
        for _ in fastavro.reader(file):
            rows += 1
    return rows


def parquet_loop(path: str, output: str) -> int:
    """Reads batches, turns each into rows, and each row into a line of JSON."""
    import orjson
    import pyarrow.parquet as pq

    rows = 0
    Path(output).parent.mkdir(parents=True, exist_ok=True)
    with pq.ParquetFile(path, pre_buffer=False) as source, Path(output).open("wb") as target:
        for batch in source.iter_batches(BATCH_ROWS):
            for row in batch.to_pylist():
                target.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
            rows += batch.num_rows
    return rows


def main(what: str, *arguments: str) -> None:
    """Runs the loop that the command line names."""
    if what == "parquet":
        rows = parquet_loop(*arguments)
    else:
        rows = {"json": json_loop, "csv": csv_loop, "avro": avro_loop}[what](*arguments)
    print(f"rows={rows}")


if __name__ == "__main__":
    main(*sys.argv[1:])
