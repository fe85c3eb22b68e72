"""Turns JSON lines, CSV and Avro into predictions and prints how that compares to bare loops.

A row of the table is a ratio of whole commands in processes of their own, taking turns, as in
parquet.py. The loops (format_loops.py) only read what scoreline reads, checks, scores and writes.
What scoreline writes is compared to what it writes for Parquet of the same rows before anything is
timed, and its dead letters are counted. The table goes to stdout and, after every row, to
benchmarks/work/formats.md; progress goes to stderr.

::

    python benchmarks/formats.py                    # everything: over an hour, 20 GB of disk
    python benchmarks/formats.py --only 'json-*'    # some rows, by name
    python benchmarks/formats.py --small            # a functional pass, no figures to keep
"""

import sys
from collections.abc import Callable

import goals
from format_inputs import Source
from format_programs import score, timed_loop, timed_score
from goals import Goal, Size, Table
from inputs import WORK, need_disk
from measure import Command, run
from ratios import Ratio, check_equal, memory_ratio, timed_ratio

_ROWS = 1_000_000
_COPIES = 10  # of so many rows: 5 GB of JSON lines
_TABLE = Table(
    WORK / "formats.md",
    "1,000,000 rows of 27 columns, about 500 bytes as JSON, LogisticRegression",
    ("apache-beam", "pyarrow", "fastavro", "orjson", "numpy", "pandas", "scikit-learn"),
    "Rows/s ÷ rows/s: of whole commands, each less the time of a command that only imports what "
    "it imports. scoreline writes all columns and the predictions; the loops but the last only "
    "read.",
)


def _speed(format_: str, every: int = 0, output_format: str = "parquet") -> Callable[[Size], Ratio]:
    """Returns what measures scoreline's rows/s ÷ the loop's: the loop's time ÷ scoreline's."""

    def measure(size: Size) -> Ratio:
        source = Source(format_, size.rows(_ROWS), every)
        need_disk(2 * source.num_bytes)
        loop = timed_loop(source)
        _check_loop(loop[0], source.num_rows)
        _check(source, output_format)
        return timed_ratio(loop, timed_score(source, output_format), size.rounds)

    return measure


def _broken(format_: str, every: int) -> Callable[[Size], Ratio]:
    def measure(size: Size) -> Ratio:
        source = Source(format_, size.rows(_ROWS), every)
        _check(source)
        return timed_ratio(timed_score(source), timed_score(source.clean), size.rounds)

    return measure


def _memory(format_: str) -> Callable[[Size], Ratio]:
    def measure(size: Size) -> Ratio:
        small = Source(format_, size.rows(_ROWS))
        large = Source(format_, size.rows(_ROWS), copies=_COPIES)
        over, under = score(large), score(small)  # makes the files
        need_disk(large.num_bytes)  # what is written
        return memory_ratio(over, under, size.rounds)

    return measure


def _check(source: Source, output_format: str = "parquet") -> None:
    """Raises RuntimeError unless scoreline predicts the same for the same rows of Parquet."""
    reference = score(Source("parquet", source.num_rows))
    asked = score(source, output_format)
    more = ["--json"] if output_format == "json" else ["--cast"]
    if source.every:
        every = ("--every", str(source.every), "--at", str(source.every // 2))
        more += ["--poison", str(source.num_broken), *every]
    if asked != reference:
        check_equal(reference, asked, *more)


def _check_loop(loop: Command, num_rows: int) -> None:
    print(f"  checking {loop.name}", file=sys.stderr, flush=True)
    said = run(loop).stdout.strip()
    if said != f"rows={num_rows}":
        raise RuntimeError(f"{loop.name} says {said!r}, expected {num_rows} rows")


GOALS = (
    Goal("json-clean", "JSON lines → Parquet ÷ `json.loads`, clean", "≥", 3, 4, _speed("json")),
    Goal(
        "json-1-in-10000", "JSON lines, 0.01 % broken ÷ the loop", "≥", 2, 3, _speed("json", 10_000)
    ),
    Goal("json-1-in-100", "JSON lines, 1 % broken ÷ the loop", "≥", 1, 2, _speed("json", 100)),
    Goal("csv-clean", "CSV → Parquet ÷ `csv.reader`, `float`, clean", "≥", 4, 8, _speed("csv")),
    Goal("csv-1-in-10000", "CSV, 0.01 % broken ÷ the loop", "≥", 2.5, 5, _speed("csv", 10_000)),
    Goal("avro", "Avro → Parquet ÷ `fastavro.reader`", "≥", 0.8, 1.2, _speed("avro")),
    Goal(
        "to-json",
        "Parquet → JSON lines ÷ `to_pylist`, `orjson.dumps`, write",
        "≥",
        2,
        5,
        _speed("parquet", output_format="json"),
    ),
    Goal("memory-json", "peak RSS, 5 GB of JSON lines ÷ 500 MB", "≤", 1.15, 1, _memory("json")),
    Goal("memory-csv", "peak RSS, 3 GB of CSV ÷ 300 MB", "≤", 1.15, 1, _memory("csv")),
    Goal(
        "json-1-in-2", "JSON, every second line broken ÷ clean", "≤", 10, None, _broken("json", 2)
    ),
    Goal("csv-1-in-2", "CSV, every second line broken ÷ clean", "≤", 10, None, _broken("csv", 2)),
)


if __name__ == "__main__":
    sys.exit(goals.main(GOALS, _TABLE, __doc__.splitlines()[0]))
