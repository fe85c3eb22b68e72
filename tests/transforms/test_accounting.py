"""Whole small jobs: for any table, however it is cut, every row comes out once and in order."""

import dataclasses
import math

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.testing.util import assert_that, equal_to
from arrow_data import STORABLE, batches
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from in_process import in_process, row_counts

from scoreline.models import ColumnarModelHandler, Contract, Feature
from scoreline.models.reserved import user_columns
from scoreline.transforms import (
    Commit,
    CommitPlan,
    Conform,
    FileLayout,
    Predict,
    ReadSplits,
    Receipt,
    WriteParts,
    conform,
    decode_payload,
)
from scoreline.transforms.commit import commit
from scoreline.transforms.parquet_files import inspect_parquet
from scoreline.transforms.predict import _SeparateFn
from scoreline.transforms.read_files import BATCHES, RECEIPTS
from scoreline.transforms.splits import plan_splits, read_split
from scoreline.transforms.write_parts import _WritePartsFn

# Of the model's two features only one is checked: what is wrong with the other makes it fail.
CONTRACT = Contract((Feature("f y", nullable=False, infinite=False),))
_NUMBERS = st.one_of(st.none(), st.sampled_from([math.nan, math.inf]), st.integers(-9, 9))


@st.composite
def tables(draw):
    batch = draw(batches(min_rows=0, max_rows=12, kinds=STORABLE, min_columns=0))
    rows = batch.num_rows
    for name in ("x", "f y"):
        if name in batch.schema.names:
            batch = batch.remove_column(batch.schema.get_field_index(name))
        values = draw(st.lists(_NUMBERS, min_size=rows, max_size=rows))
        batch = batch.append_column(name, pa.array(values, pa.float64()))
    return pa.table(batch)


def write_cut(draw, table, folder):
    """Cuts a table into files and row groups; gives splits that are cut into batches."""
    edges = sorted(draw(st.lists(st.integers(0, table.num_rows), max_size=3)))
    starts, stops = [0, *edges], [*edges, table.num_rows]
    paths = []
    for number, (start, stop) in enumerate(zip(starts, stops, strict=True)):
        paths.append(str(folder / f"in-{number}.parquet"))
        group = draw(st.integers(1, 5))
        pq.write_table(table.slice(start, stop - start), paths[-1], row_group_size=group)
    splits = []
    for path in paths:  # a split of each file, numbered on
        for split in plan_splits([inspect_parquet(path)]):
            batch_rows = draw(st.integers(1, 5))
            ranges = tuple(dataclasses.replace(r, batch_rows=batch_rows) for r in split.ranges)
            splits.append(dataclasses.replace(split, number=len(splits), ranges=ranges))
    return splits


def is_good(row):
    return all(row[name] is not None and math.isfinite(row[name]) for name in ("x", "f y"))


def plan_for(folder, splits, table, handler):
    columns = [*table.schema, pa.field("prediction", pa.float64())]
    layout = FileLayout(str(folder / "out"))
    return CommitPlan(
        run_id="r",
        home=layout,
        places=(layout,),
        dead_letters=layout,
        fingerprint="",
        removes=(),
        planned={split.number: split.num_rows for split in splits},
        max_dead_letter_ratio=1.0,
        output_schemas=(pa.schema(columns),),
        report={"started_at": "2026-01-01T00:00:00+00:00"},
    )


def score(splits, handler, staging):
    """The job without Beam: what every split's batches become, as receipts."""
    receipts = []
    loaded = handler.load_model()
    separate = _SeparateFn("r")
    for split in splits:
        writers = {
            "predicted": _WritePartsFn(staging, "predicted", None, False, ".parquet", 0),
            "conform": _WritePartsFn(staging, "dead_lettered", None, False, ".parquet", 0),
            "predict": _WritePartsFn(staging, "dead_lettered", None, False, ".parquet", 0),
        }
        for writer in writers.values():
            writer.start_bundle()
        rows = 0
        for batch in read_split(split):
            rows += batch.num_rows
            good, dead = conform(batch, CONTRACT)
            if dead is not None:
                writers["conform"].process(dead)
            for result in handler.run_inference(good, loaded) if good is not None else ():
                for found in separate.process(result):
                    if isinstance(found, beam.pvalue.TaggedOutput):
                        writers["predict"].process(found.value)
                    else:
                        writers["predicted"].process(found)
        receipts.append(Receipt("read", split.number, rows))
        receipts += [found.value for w in writers.values() for found in w.finish_bundle()]
    return receipts


def check(report, table, layout):
    """Every row is in the output or in a dead letter, once; both are in order and unchanged."""
    rows = table.to_pylist()
    good, bad = [r for r in rows if is_good(r)], [r for r in rows if not is_good(r)]
    expected = {"read": len(rows), "predicted": len(good), "dead_lettered": len(bad)}
    assert {name: report["rows"][name] for name in expected} == expected
    assert (report["unaccounted"], report["exit_code"]) == ([], 0)
    parts = [path for path in layout.existing() if "_dead_letters" not in path]
    written = [row for part in parts for row in pq.ParquetFile(part).read().to_pylist()]
    for row in written:
        assert math.isclose(row.pop("prediction"), 1 + 2 * row["x"] + 3 * row["f y"], abs_tol=1e-6)
        row.pop("model_version", None)
    assert repr(written) == repr(good)
    dead = [path for path in layout.existing() if "_dead_letters" in path]
    letters = [row for path in dead for row in pq.ParquetFile(path).read().to_pylist()]
    letters.sort(key=lambda letter: (letter["source"], int(letter["position"])))
    payloads = [decode_payload(letter["payload"]).to_pylist()[0] for letter in letters]
    assert repr(payloads) == repr(bad)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_every_row_is_accounted_for(spaced_ref, tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("job")
    table = data.draw(tables())
    splits = write_cut(data.draw, table, folder)
    handler = ColumnarModelHandler(spaced_ref)
    plan = plan_for(folder, splits, table, handler)
    report = commit(plan, score(splits, handler, plan.staging))
    check(report, table, plan.home)


def build(pipeline, splits, handler, plan):
    read = pipeline | ReadSplits(splits)
    conformed = read[BATCHES] | Conform(CONTRACT)
    predicted = conformed.accepted | Predict(handler)
    receipts = (
        read[RECEIPTS],
        predicted.accepted | "Good" >> WriteParts(plan.staging, "predicted"),
        conformed.dead_letters | "Bad" >> WriteParts(plan.staging, "dead_lettered"),
        predicted.dead_letters | "Failed" >> WriteParts(plan.staging, "dead_lettered"),
    )
    return receipts | beam.Flatten() | Commit(plan)


@settings(max_examples=4, deadline=None)
@given(st.data())
def test_every_row_is_accounted_for_by_a_pipeline(spaced_ref, tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("job")
    table = data.draw(tables())
    splits = write_cut(data.draw, table, folder)
    handler = ColumnarModelHandler(spaced_ref)
    plan = plan_for(folder, splits, table, handler)
    with in_process() as pipeline:
        reports = build(pipeline, splits, handler, plan)
        assert_that(reports | beam.Map(_exit_code), equal_to([0]))
    counts = row_counts(pipeline)
    report = commit(plan, [])  # what the intent says
    check(report, table, plan.home)
    expected = {f"rows_{name}": rows for name, rows in report["rows"].items() if rows}
    assert counts == expected


def _exit_code(report: dict) -> int:
    return report["exit_code"]


def test_a_table_of_one_row_is_cut_as_it_should_be(spaced_ref, tmp_path):
    """Without Hypothesis: a row of each kind in one batch."""
    table = pa.table({"k": [["a"], None, []], "x": [1.0, math.nan, 2.0], "f y": [1.0, 1.0, None]})
    pq.write_table(table, tmp_path / "in.parquet")
    splits = plan_splits([inspect_parquet(str(tmp_path / "in.parquet"))])
    handler = ColumnarModelHandler(spaced_ref)
    plan = plan_for(tmp_path, splits, table, handler)
    report = commit(plan, score(splits, handler, plan.staging))
    check(report, table, plan.home)
    assert report["dead_letters"] == {"conform/null_value": 1, "predict/model_error": 1}
    assert user_columns(next(read_split(splits[0]))).num_rows == 3
