"""Text and Avro kernels: record batches to bytes and back, without Beam."""
