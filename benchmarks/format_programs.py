"""Turns a source into the commands to measure: scoreline on it, and the bare loop over it."""

import sys
from pathlib import Path

import programs
from format_inputs import Source, model_file, source_file
from inputs import WORK
from measure import Command
from programs import Job
from ratios import ALLOW_ALL, Timed

_LOOPS = Path(__file__).with_name("format_loops.py")
_LIBRARIES = {
    "json": ("orjson", "pyarrow.json"),
    "csv": ("pyarrow.csv",),
    "avro": ("fastavro",),
    "parquet": (),
}
_LOOP_IMPORTS = {
    "json": "json",
    "csv": "csv",
    "avro": "fastavro",
    "parquet": "orjson, pyarrow.parquet",
}


def score(source: Source, output_format: str = "parquet") -> Command:
    """Turns a source into scoreline's command, which writes all columns and the predictions."""
    name = f"scoreline-{source.name}-to-{output_format}"
    output = WORK / "outputs" / name
    paths = ("--input", str(source_file(source)), "--output", str(output))
    model = ("--model", str(model_file()), "--output-format", output_format)
    return Command(name, (*programs.SCORE, *paths, *model, *ALLOW_ALL), output)


def timed_score(source: Source, output_format: str = "parquet") -> Timed:
    """Turns a source into scoreline's command and its imports."""
    libraries = {*_LIBRARIES[source.format], *_LIBRARIES[output_format]}
    start = programs.imports("scoreline", Job("logistic", 0), *sorted(libraries))
    return score(source, output_format), start


def timed_loop(source: Source) -> Timed:
    """Turns a source into the command of the bare loop over it and its imports."""
    name = f"loop-{source.name}"
    output = WORK / "outputs" / name if source.format == "parquet" else None
    argv = [sys.executable, str(_LOOPS), source.format, str(source_file(source))]
    if output:
        argv.append(str(output / "rows.jsonl"))
    start = (sys.executable, "-c", f"import {_LOOP_IMPORTS[source.format]}")
    return Command(name, tuple(argv), output), Command(f"loop-{source.format}-imports", start)
