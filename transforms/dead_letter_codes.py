"""Counts dead letters by their reason, and keeps one of each as an example."""

import pyarrow as pa
import pyarrow.compute as pc


class DeadLetterCodes:
    """The reasons `stage/error_code` that were met, in the order in which they first came.

    Attributes:
        counts: the rows of each reason.
        examples: where the first row of each came from, and what was wrong with it.
    """

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.examples: dict[str, str] = {}

    def note(self, dead_letters: pa.RecordBatch) -> None:
        """Counts a batch of dead letters."""
        stage, code = dead_letters.column("stage"), dead_letters.column("error_code")
        keys = pc.binary_join_element_wise(stage, code, "/")
        for entry in keys.value_counts():
            key, rows = entry["values"].as_py(), entry["counts"].as_py()
            if key not in self.counts:
                self.examples[key] = _example(dead_letters, keys.index(key).as_py())
            self.counts[key] = self.counts.get(key, 0) + rows

    def entries(self) -> tuple[tuple[str, int, str], ...]:
        """(reason, rows, example) for each reason."""
        return tuple((key, rows, self.examples[key]) for key, rows in self.counts.items())


def _example(dead_letters: pa.RecordBatch, row: int) -> str:
    where = dead_letters.column("row_id")[row].as_py()
    message = dead_letters.column("error_message")[row].as_py()
    return f"{where}: {message}" if where else str(message)
