"""Turns a job into scoreline's commands: from files to files, and from a table to a table."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import programs
from fresh_bigquery import PROJECT
from inputs import WORK, model_file, rows_file
from measure import Command
from programs import Job

_LOAD_SECS = 900
_LOAD = Path(__file__).with_name("bigquery_load.py")
_SOURCE, _TARGET = f"{PROJECT}.bench.rows", f"{PROJECT}.bench.scores"


def files_job(job: Job) -> Command:
    """Returns the command that scores a file into files."""
    return programs.command("scoreline", job)


def bigquery_job(job: Job, variables: Mapping[str, str]) -> Command:
    """Loads the rows of a job into a fresh emulator; returns the command that scores them there."""
    argv = (sys.executable, str(_LOAD), _SOURCE, str(rows_file(job.kind, job.num_rows)))
    environment = os.environ | variables
    subprocess.run(argv, env=environment, check=True, timeout=_LOAD_SECS, stdout=sys.stderr)
    name = f"scoreline-{job.model}-bigquery-{job.num_rows}"
    folder = WORK / "outputs" / name
    ends = ("--input", f"bq://{_SOURCE}", "--output", f"bq://{_TARGET}")
    more = ("--model", str(model_file(job.model)), "--report", str(folder))
    score = [word for word in programs.SCORE if word != "--overwrite"]  # which is about files
    return Command(name, (*score, *ends, *more), folder)
