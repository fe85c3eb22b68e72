"""Turns two outputs into "equal" or the first difference: nothing is timed before this agrees.

::

    python benchmarks/compare.py out/loop out/scoreline [--any_order] [--poison 16]

An output is a folder of Parquet files, in which names with a leading ``_`` or ``.`` are skipped, as
every Arrow reader does. The other may be one of JSON lines (``--json``), which are read with the
columns of the first. With ``--cast`` types may differ as long as the values survive a cast to the
first's: text does not say whether 273 is an integer. With ``--poison N`` the other output is of the
poisoned file: it must be the first without the N poison rows, and have N dead letters. Where poison
is not what data.py writes, ``--every`` and ``--at`` say which rows that is.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.json as pa_json
import pyarrow.parquet as pq
from inputs import POISON_AT, POISON_EVERY

_SORT_BY = ("f00", "f01", "f02", "f03")  # four random floats tell rows apart


def difference(one: pa.Table, other: pa.Table) -> str | None:
    """Turns two tables into what tells them apart first, or None.

    NaN is no difference to NaN here: a poison row that passes through is the same row.
    """
    if not one.schema.equals(other.schema):
        return f"schemas differ:\n{one.schema}\n--- and ---\n{other.schema}"
    if one.num_rows != other.num_rows:
        return f"{one.num_rows:,} rows and {other.num_rows:,} rows"
    for name in one.column_names:
        if not one[name].equals(other[name]):
            pairs = zip(one[name].to_pylist(), other[name].to_pylist(), strict=True)
            for row, (left, right) in enumerate(pairs):
                if left != right and (left == left or right == right):
                    return f"column {name!r}, row {row:,}: {left!r} and {right!r}"
    return None


def read(path: str, *, any_order: bool) -> pa.Table:
    """Turns an output into one table, sorted where the program keeps no order."""
    table = pq.read_table(path, partitioning=None)
    if any_order:
        table = table.sort_by([(name, "ascending") for name in _SORT_BY])
    return table


def read_json(path: str, schema: pa.Schema) -> pa.Table:
    """Turns an output of JSON lines into one table, file by file.

    Arrow's dataset of JSON files waits for ever on a machine with two cores: what reads ahead in
    its two threads waits for work that only those threads could do.
    """
    options = pa_json.ParseOptions(explicit_schema=schema)
    parts = sorted(Path(path).glob("part-*.jsonl"))
    return pa.concat_tables(pa_json.read_json(part, parse_options=options) for part in parts)


def plain(table: pa.Table) -> pa.Table:
    """Turns dictionaries into their values, as a format without them has them."""
    types = (
        field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        for field in table.schema
    )
    return table.cast(pa.schema(list(zip(table.column_names, types, strict=True))))


def without_poison(table: pa.Table, every: int, at: int) -> pa.Table:
    """Turns the predictions of a clean file into what is expected of the poisoned one."""
    healthy = np.arange(table.num_rows) % every != at
    return table.filter(pa.array(healthy))


def count_dead_letters(path: str) -> int:
    """Returns how many dead letters lie in an output."""
    return pq.read_table(Path(path) / "_dead_letters", columns=[], partitioning=None).num_rows


def main() -> None:
    """Reads the command line, compares, and exits with the difference where there is one."""
    parser = argparse.ArgumentParser()
    parser.add_argument("one")
    parser.add_argument("other")
    parser.add_argument("--any_order", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--cast", action="store_true")
    parser.add_argument("--poison", type=int)
    parser.add_argument("--every", type=int, default=POISON_EVERY)
    parser.add_argument("--at", type=int, default=POISON_AT)
    args = parser.parse_args()
    one = read(args.one, any_order=args.any_order)
    if args.json:
        one = plain(one)
        other = read_json(args.other, one.schema)
    else:
        other = read(args.other, any_order=args.any_order)
    if args.cast:
        other = other.cast(one.schema)
    if args.poison is not None:
        one = without_poison(one, args.every, args.at)
        dead_letters = count_dead_letters(args.other)
        if dead_letters != args.poison:
            sys.exit(f"{args.other} has {dead_letters} dead letters, expected {args.poison}")
    found = difference(one, other)
    if found:
        sys.exit(f"{args.one} and {args.other} are not equal: {found}")


if __name__ == "__main__":
    main()
