"""Receipts: the row counts that travel with the data, and how they are added up and checked.

Every split gives one receipt of what was read and one for each part that was written. A retried
bundle's receipts are dropped with its output, so what arrives at the commit step is exactly what
was done. For every split: read = predicted + dead-lettered.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

import apache_beam as beam

ReceiptKind = Literal["read", "predicted", "dead_lettered"]

_REFUSED = "refused by the first output"


@dataclass(frozen=True)
class Receipt:
    """What happened to some rows of one split.

    Attributes:
        kind: `read` rows were read, the others are in a part.
        split: the split's number.
        rows: how many.
        path: the staged part that holds them, for the two last kinds.
        sink: which of several outputs predictions are for, or has refused the dead letters; 0 for
            those that a step before the outputs has refused.
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
    """All receipts of a run, added up.

    Attributes:
        rows: by what became of them; a row has one outcome, which is that at the first output.
        refused_by_others: the rows that each other output has refused.
        codes: the dead letters of all, by their reason.
        examples: of each reason.
        unbalanced: what does not add up, in words.
    """

    rows: Counter[str] = field(default_factory=Counter)
    refused_by_others: Counter[int] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    unbalanced: list[str] = field(default_factory=list)

    @property
    def dead_letter_ratio(self) -> float:
        """Dead letters per row read, of the output that lacks most; 0 if nothing was read."""
        if not self.rows["read"]:
            return 0.0
        missing = self.rows["dead_lettered"]
        for refused in self.refused_by_others.values():
            missing = max(missing, self.rows["dead_lettered"] - self.rows[_REFUSED] + refused)
        return missing / self.rows["read"]


def add_up(
    receipts: Iterable[Receipt],
    planned: Mapping[int, int] | None = None,
    num_sinks: int = 1,
    planned_rows: int | None = None,
) -> Account:
    """Adds up receipts and finds the splits whose rows are not all accounted for.

    Args:
        receipts: of the whole run.
        planned: the rows that each split should have, where that is known before it is read.
        num_sinks: outputs, each of which must have all predictions.
        planned_rows: of all splits together, where only that is known.

    >>> account = add_up([Receipt("read", 0, 5), Receipt("predicted", 0, 4)])
    >>> account.unbalanced
    ['split 0: 5 rows read, but 4 predicted and 0 dead-lettered']
    """
    account = Account()
    splits: dict[int, Counter[str]] = {}
    for receipt in sorted(receipts, key=lambda receipt: (receipt.split, receipt.path or "")):
        rows = splits.setdefault(receipt.split, Counter())
        for kind, count in _counted(receipt):
            account.rows[kind] += count
            rows[kind] += count
        if receipt.sink and receipt.kind == "dead_lettered":
            account.refused_by_others[receipt.sink] += receipt.rows
        for code, count, example in receipt.codes:
            account.codes[code] += count
            account.examples.setdefault(code, example)
    promised = planned or {}
    for split in sorted(splits.keys() | promised.keys()):
        rows = splits.get(split, Counter())
        problem = _imbalance(split, rows, promised.get(split)) or _missing(split, rows, num_sinks)
        account.unbalanced += [problem] if problem else []
    if planned_rows is not None and planned_rows != account.rows["read"]:
        account.unbalanced.append(
            f"the input: {planned_rows} rows planned, but {account.rows['read']} read"
        )
    return account


def _imbalance(split: int, rows: Counter[str], planned: int | None) -> str | None:
    if planned is not None and planned != rows["read"]:
        return (
            f"split {split}: {planned} rows planned, but {rows['read']} read (was its file written "
            "to meanwhile?)"
        )
    if rows["read"] != rows["predicted"] + rows["dead_lettered"]:
        return (
            f"split {split}: {rows['read']} rows read, but {rows['predicted']} predicted and "
            f"{rows['dead_lettered']} dead-lettered"
        )
    return None


def _counted(receipt: Receipt) -> Iterator[tuple[str, int]]:
    """What a receipt adds to: of which rows, at which output."""
    if receipt.sink:
        yield f"{receipt.kind} by sink {receipt.sink}", receipt.rows
        return
    yield receipt.kind, receipt.rows
    refused = sum(rows for code, rows, _ in receipt.codes if code.startswith("write/"))
    if refused:
        yield _REFUSED, refused


def _missing(split: int, rows: Counter[str], num_sinks: int) -> str | None:
    """Every output has, or has refused, all rows that were predicted."""
    scored = rows["predicted"] + rows[_REFUSED]
    for sink in range(1, num_sinks):
        there, refused = rows[f"predicted by sink {sink}"], rows[f"dead_lettered by sink {sink}"]
        if there + refused != scored:
            and_refused = f" and {refused} refused by it" if refused else ""
            return (
                f"split {split}: {scored} rows predicted, but {there} in output {sink + 1}"
                f"{and_refused}"
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
