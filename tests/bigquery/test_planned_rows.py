"""Whether all rows of a table that BigQuery counts are read; on doubles of the service."""

import json
from pathlib import Path

import grpc
import pytest
from read_double import Break
from running import numbers

from scoreline.transforms.bigquery.names import TableName

ORDERS = TableName("p-1", "sales", "orders")
ROWS = 60


@pytest.fixture
def double(rest_double, read_double):
    columns = numbers(ROWS)
    types = {"double": "FLOAT", "int64": "INTEGER", "string": "STRING"}
    fields = [(field.name, types[str(field.type)]) for field in columns.schema]
    rest_double.add_dataset("p-1.sales")
    rest_double.add_table(str(ORDERS), *fields, numRows=str(ROWS), numBytes=str(200 * 2**20))
    read_double.add(ORDERS.path, columns)
    return rest_double


def scored(score, *flags):
    ended = score(*flags, input=ORDERS.uri)
    (report,) = Path("out").rglob("report.json")
    return ended, json.loads(report.read_text())


def test_all_rows_of_a_table_are_accounted_for(double, score, read_double):
    ended, report = scored(score)
    assert ended.code == 0, ended.err
    assert len(read_double.reads) == 3
    assert report["rows"]["read"] == ROWS


def test_a_stream_that_ends_early_without_an_error_ends_the_run_with_code_3(
    double, score, read_double
):
    read_double.break_stream(1, Break(1, grpc.StatusCode.OK))
    ended, report = scored(score)
    assert report["unaccounted"] == [f"the input: {ROWS} rows planned, but {ROWS - 10} read"]
    assert ended.code == report["exit_code"] == 3
    assert report["unaccounted"][0] in ended.err


def test_a_table_that_comes_without_a_stream_ends_the_run_with_code_3(double, score, read_double):
    read_double.add(ORDERS.path, numbers(ROWS).slice(0, 0))
    ended, report = scored(score)
    assert report["unaccounted"] == [f"the input: {ROWS} rows planned, but 0 read"]
    assert ended.code == 3


def test_a_limit_is_all_that_is_planned(double, score, read_double):
    ended, report = scored(score, "--limit", "25")
    assert ended.code == 0, ended.err
    assert report["rows"]["read"] == 25


@pytest.mark.parametrize("case", ["filter", "buffered"])
def test_a_count_that_nobody_knows_is_held_against_nothing(double, score, read_double, case):
    if case == "buffered":
        double.tables[str(ORDERS)]["streamingBuffer"] = {"estimatedRows": "1"}
    read_double.break_stream(1, Break(1, grpc.StatusCode.OK))
    ended, report = scored(score, *(["--row-filter", "id >= 0"] if case == "filter" else []))
    assert ended.code == 0, ended.err
    assert report["rows"]["read"] == ROWS - 10
