"""Transforms: Beam PTransforms over PCollections whose elements are non-empty `pa.RecordBatch`es.

All batches of a PCollection share one schema, rows keep their order within a batch, and nothing is
mutated. Importing this package registers the coder for batches: that is its one side effect.
"""

if __name__ == "transforms":
    raise ImportError("import scoreline.transforms, not transforms: a worker could not unpickle it")

from .coder import RecordBatchCoder
from .commit import Commit, CommitPlan
from .conform import Conform, conform
from .dead_letters import DEAD_LETTER_SCHEMA, decode_payload
from .layout import FileLayout
from .outcome import Outcome
from .predict import Predict
from .read_files import ReadFiles, ReadSplits
from .receipts import Receipt
from .write_files import WriteFiles
from .write_parts import WriteParts

__all__ = [
    "Commit",
    "CommitPlan",
    "Conform",
    "DEAD_LETTER_SCHEMA",
    "FileLayout",
    "Outcome",
    "Predict",
    "ReadFiles",
    "ReadSplits",
    "Receipt",
    "RecordBatchCoder",
    "WriteFiles",
    "WriteParts",
    "conform",
    "decode_payload",
]
