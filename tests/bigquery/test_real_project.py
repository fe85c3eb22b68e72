"""The script for a project of one's own works: here against the emulator, as far as that goes."""

import os

import pytest
import real_project
from bq_emulator import BigQueryEmulator

from scoreline.transforms.bigquery.column_types import to_bigquery
from scoreline.transforms.bigquery.wire_rows import WireCast

# The emulator takes null where none may be and no structs, does not say when a table expires or
# which tables a query reads, and stores nothing in a column that was added.
BEYOND_THE_EMULATOR = {
    "a column that is new",
    "a query",
    "a row that a table refuses",
    "all types, partitions and clusters",
    "temporary tables expire",
}


def datasets(bq: BigQueryEmulator) -> set[str]:
    return {dataset.dataset_id for dataset in bq.client.list_datasets(bq.project, timeout=30)}


def test_the_script_tries_everything_and_leaves_nothing(
    bq: BigQueryEmulator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    attempts = {
        what: attempt
        for what, attempt in real_project.ATTEMPTS.items()
        if what not in BEYOND_THE_EMULATOR
    }
    assert len(attempts) == len(real_project.ATTEMPTS) - len(BEYOND_THE_EMULATOR)
    monkeypatch.setattr(real_project, "ATTEMPTS", attempts)
    before = datasets(bq)
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "that-of-the-credentials")
    code = real_project.main(["--project", bq.project])
    said = capsys.readouterr().out
    assert code == 0, said
    assert said.count("fine") == 2 * len(attempts)
    assert datasets(bq) == before
    assert os.environ["GOOGLE_CLOUD_PROJECT"] == bq.project


def test_the_rows_of_all_types_can_be_made_and_stored() -> None:
    rows = real_project.typed_orders()
    kinds = {field.field_type for field in to_bigquery(rows.schema)}
    every = "INTEGER FLOAT TIMESTAMP STRING RECORD BYTES BOOLEAN NUMERIC BIGNUMERIC DATE TIME"
    assert kinds == {*every.split(), "DATETIME"}
    (batch,) = rows.combine_chunks().to_batches()
    sent, misfits = WireCast().rows(batch)
    assert (sent.num_rows, misfits) == (real_project.ROWS, [])
