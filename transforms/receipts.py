"""Receipts: the row counts that travel with the data, and how they are added up and checked.

Every split gives one receipt of what was read and one for each part that was written. A retried
bundle's receipts are dropped with its output, so what arrives at the commit step is exactly what
was done. For every split: read = predicted + dead-lettered.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import apache_beam as beam

ReceiptKind = Literal["read", "predicted", "dead_lettered"]


@dataclass(frozen=True)
class Receipt:
    """What happened to some rows of one split.

    Attributes:
        kind: `read` rows were read, the others are in a part.
        split: the split's number.
        rows: how many.
        path: the staged part that holds them, for the two last kinds.
        sink: of predictions, which of several outputs they are for.
        codes: for dead letters, (`stage/error_code`, rows, example of a row) for each code.
    """

    kind: ReceiptKind
    split: int
    rows: int
    path: str | None = None
    codes: tuple[tuple[str, int, str], ...] = ()
    sink: int = 0


@dataclass
class Account:
    """All receipts of a run, added up."""

    rows: Counter[str] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    unbalanced: list[str] = field(default_factory=list)

    @property
    def dead_letter_ratio(self) -> float:
        """Dead letters per row read; 0 if nothing was read."""
        return self.rows["dead_lettered"] / self.rows["read"] if self.rows["read"] else 0.0


def add_up(
    receipts: Iterable[Receipt], planned: Mapping[int, int] | None = None, num_sinks: int = 1
) -> Account:
    """Adds up receipts and finds the splits whose rows are not all accounted for.

    Args:
        receipts: of the whole run.
        planned: the rows that each split should have, where that is known before it is read.
        num_sinks: outputs, each of which must have all predictions.

    >>> account = add_up([Receipt("read", 0, 5), Receipt("predicted", 0, 4)])
    >>> account.unbalanced
    ['split 0: 5 rows read, but 4 predicted and 0 dead-lettered']
    """
    account = Account()
    splits: dict[int, Counter[str]] = {}
    for receipt in sorted(receipts, key=lambda receipt: (receipt.split, receipt.path or "")):
        kind = receipt.kind if receipt.sink == 0 else f"{receipt.kind} by sink {receipt.sink}"
        account.rows[kind] += receipt.rows
        splits.setdefault(receipt.split, Counter())[kind] += receipt.rows
        for code, count, example in receipt.codes:
            account.codes[code] += count
            account.examples.setdefault(code, example)
    promised = planned or {}
    for split in sorted(splits.keys() | promised.keys()):
        rows = splits.get(split, Counter())
        problem = _imbalance(split, rows, promised.get(split)) or _missing(split, rows, num_sinks)
        account.unbalanced += [problem] if problem else []
    return account


def _imbalance(split: int, rows: Counter[str], planned: int | None) -> str | None:
    if planned is not None and planned != rows["read"]:
        return f"split {split}: {planned} rows planned, but {rows['read']} read"
    if rows["read"] != rows["predicted"] + rows["dead_lettered"]:
        return (
            f"split {split}: {rows['read']} rows read, but {rows['predicted']} predicted and "
            f"{rows['dead_lettered']} dead-lettered"
        )
    return None


def _missing(split: int, rows: Counter[str], num_sinks: int) -> str | None:
    for sink in range(1, num_sinks):
        if rows[f"predicted by sink {sink}"] != rows["predicted"]:
            return (
                f"split {split}: {rows['predicted']} rows predicted, but "
                f"{rows[f'predicted by sink {sink}']} in output {sink + 1}"
            )
    return None


class GatherReceipts(beam.PTransform[beam.PCollection[Receipt], beam.PCollection[list[Receipt]]]):
    """Turns receipts into one list of all of them; without a receipt there is no list."""

    def expand(self, receipts: beam.PCollection[Receipt]) -> beam.PCollection[list[Receipt]]:
        """One key, one group."""
        return (
            receipts
            | "OneKey" >> beam.Map(_one_key)
            | "Group" >> beam.GroupByKey()
            | "List" >> beam.Map(_values)
        )


def _one_key(receipt: Receipt) -> tuple[int, Receipt]:
    return 0, receipt


def _values(group: tuple[int, Iterable[Receipt]]) -> list[Receipt]:
    return list(group[1])
