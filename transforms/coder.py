"""The coder for `pa.RecordBatch`: an Arrow IPC stream of one batch."""

import apache_beam as beam
import pyarrow as pa


class RecordBatchCoder(beam.coders.Coder):
    """Encodes just the rows of a batch; Beam's default would pickle the whole parent buffers."""

    def encode(self, batch: pa.RecordBatch) -> bytes:
        """Turns a batch, its schema metadata included, into an IPC stream."""
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, batch.schema) as writer:
            writer.write_batch(batch)
        return sink.getvalue().to_pybytes()

    def decode(self, encoded: bytes) -> pa.RecordBatch:
        """Turns an IPC stream back into its batch, without a copy."""
        return pa.ipc.open_stream(pa.py_buffer(encoded)).read_next_batch()

    def estimate_size(self, batch: pa.RecordBatch) -> int:
        """The size of the buffers: Beam asks for every batch, and would encode it to find out."""
        return int(batch.nbytes)

    def is_deterministic(self) -> bool:
        """The same batch may be encoded with other buffers' padding: never a key."""
        return False


beam.coders.registry.register_coder(pa.RecordBatch, RecordBatchCoder)
