"""Pipelines on the in-process runner, named explicitly: nothing is downloaded."""

from apache_beam import metrics
from apache_beam.coders import registry
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing import test_pipeline

from scoreline.transforms import RecordBatchCoder


def in_process():
    """A pipeline that runs when its `with` block ends."""
    return test_pipeline.TestPipeline(runner=FnApiRunner())


def row_counts(pipeline):
    """The counters of a pipeline that has run, by name, in our namespace."""
    query = metrics.MetricsFilter().with_namespace("scoreline")
    counters = pipeline.result.metrics().query(query)["counters"]
    found = {counter.key.metric.name: 0 for counter in counters}
    for counter in counters:
        found[counter.key.metric.name] += counter.committed
    return {name: rows for name, rows in found.items() if name.startswith("rows_")}


def has_batch_coder(output):
    """Whether the elements of a PCollection are encoded as Arrow streams, not pickled."""
    return isinstance(registry.get_coder(output.element_type), RecordBatchCoder)
