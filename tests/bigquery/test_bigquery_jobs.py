"""Statements that run once under a name, against a double of the REST interface."""

import threading

import pytest
from google.api_core.exceptions import Conflict, GoogleAPICallError

from scoreline.transforms.bigquery import jobs
from scoreline.transforms.bigquery.errors import BigQueryError
from scoreline.transforms.bigquery.jobs import has_run, run_once

STATEMENT = "TRUNCATE TABLE t"


@pytest.fixture
def double(rest_double):
    rest_double.add_dataset("p-1.ml")
    return rest_double


def run(name="job"):
    run_once(STATEMENT, name, "p-1", "EU")


def test_a_statement_runs_once_under_its_name(double):
    assert not has_run("job", "p-1", "EU")
    run()
    run()
    run("other")
    assert list(double.executed) == ["job", "other"]
    assert has_run("job", "p-1", "EU")


def test_whoever_comes_while_it_runs_waits_for_its_end(double):
    double.polls = 3
    run()
    double.polls = 3
    assert has_run("job", "p-1", "EU")
    run()
    assert list(double.executed) == ["job"]


def test_several_at_once_run_it_once(double):
    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert list(double.executed) == ["job"]


def test_each_start_anew_has_a_name_of_its_own(double):
    double.failures[STATEMENT] = ["first", "second"]
    for message in ("first", "second"):
        with pytest.raises(GoogleAPICallError, match=message):
            run()
        assert not has_run("job", "p-1", "EU")
    run()
    assert list(double.executed) == ["job_3"]
    assert has_run("job", "p-1", "EU")


def test_a_statement_that_always_fails_is_given_up(double, monkeypatch):
    monkeypatch.setattr(jobs, "_MAX_ATTEMPTS", 2)
    double.failures[STATEMENT] = ["broken"] * 3
    for _ in range(2):
        with pytest.raises(GoogleAPICallError, match="broken"):
            run()
    with pytest.raises(BigQueryError, match="the job job has failed 2 times"):
        run()
    assert not has_run("job", "p-1", "EU")


def test_a_job_that_does_not_end_is_left_alone_in_the_end(double, monkeypatch):
    monkeypatch.setattr(jobs, "_JOB_SECS", 0.2)
    double.polls = 1_000
    with pytest.raises(BigQueryError, match="the job job still runs after"):
        run()


def test_a_conflict_about_something_else_is_raised(double):
    double.fail("POST", "jobs", 409, reason="duplicate", message="Already Exists: Table t")
    with pytest.raises(Conflict, match="Already Exists: Table t"):
        run()
