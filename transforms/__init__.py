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
from .decode import Decode, decode
from .deduplicate import Deduplicate, ForgetRejected
from .layout import FileLayout
from .native_pubsub import ReadNativePubSub
from .outcome import Outcome
from .predict import Predict
from .pubsub_source import PubSubSource
from .read_files import ReadFiles, ReadSplits
from .read_pubsub import ReadPubSub
from .receipts import Receipt
from .stream_files import WriteStreamFiles
from .write_bigquery import WriteBigQueryParts, WriteBigQueryStream
from .write_files import WriteFiles
from .write_parts import WriteParts
from .write_pubsub import PublishDeadLetters, WritePubSub

__all__ = [
    "Commit",
    "CommitPlan",
    "Conform",
    "DEAD_LETTER_SCHEMA",
    "Decode",
    "Deduplicate",
    "FileLayout",
    "ForgetRejected",
    "Outcome",
    "Predict",
    "PubSubSource",
    "PublishDeadLetters",
    "ReadFiles",
    "ReadNativePubSub",
    "ReadPubSub",
    "ReadSplits",
    "Receipt",
    "RecordBatchCoder",
    "WriteBigQueryParts",
    "WriteBigQueryStream",
    "WriteFiles",
    "WriteParts",
    "WritePubSub",
    "WriteStreamFiles",
    "conform",
    "decode",
    "decode_payload",
]
