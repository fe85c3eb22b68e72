"""Turns rows into a BigQuery table and back in several ways and prints how they compare.

Each measurement has an emulator of its own on this machine (that of the tests), whose speed says
nothing of the service: most of the time of a row is the emulator's. So the requests and bytes that
carry rows are compared as well, and what our side costs is measured without a server: the CPU time
of framing requests, and memory against a double of the write service that drops all rows. Beam's
own connector cannot reach an emulator; bigquery_beam.py says how it is made to. The table goes to
stdout and, after every row, to benchmarks/work/bigquery.md; all figures of each run go to
benchmarks/work/bigquery.jsonl, progress goes to stderr.

::

    python benchmarks/bigquery.py                    # everything, half an hour
    python benchmarks/bigquery.py --only 'sink-*'    # some rows, by name
    python benchmarks/bigquery.py --small            # a functional pass, no figures to keep
"""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import goals
import programs
from bigquery_jobs import bigquery_job, files_job
from fresh_bigquery import dropping_double, fresh_bigquery
from goals import Goal, Size, Table
from inputs import WORK
from measure import Command, Sample, Spread, run
from programs import Job
from ratios import Ratio

_HERE = Path(__file__).parent
_SINK_ROWS = {"scoreline": 1_000_000, "insert-json": 200_000, "streaming-inserts": 20_000}
_SOURCE_ROWS = {"scoreline": 1_000_000, "direct-read": 200_000}
_SMALL_ROWS = {"scoreline": 20_000, "insert-json": 20_000, "streaming-inserts": 1_000}
_FRAMING_ROUNDS = 9  # at least: a round is well below a second
_FRAMING_SECS = 600.0
_TABLE = Table(
    WORK / "bigquery.md",
    "BigQuery emulator, ten columns of 87 bytes a row",
    ("apache-beam", "google-cloud-bigquery", "google-cloud-bigquery-storage", "grpcio", "pyarrow"),
    "Rates are of a program's own clock, from the first row to the time that all can be read: "
    "1,000,000 rows of ours, 200,000 of `insert_rows_json` and of DIRECT_READ, 20,000 of "
    "STREAMING_INSERTS. Seconds of whole commands are with their imports.",
)

Figures = Sequence[tuple[Sample, dict[str, Any]]]


def _trial(name: str, program: str, *words: str) -> tuple[Sample, dict[str, Any]]:
    """Runs a program on an emulator of its own, and keeps a line of what it says."""
    argv = (sys.executable, str(_HERE / program), *words)
    with fresh_bigquery() as variables:
        sample = run(Command(name, argv, environment=variables))
    figures = json.loads(sample.stdout.splitlines()[-1])
    line = json.dumps({"trial": name, **figures})
    print(f"  {line}", file=sys.stderr, flush=True)
    WORK.mkdir(exist_ok=True)
    with _TABLE.path.with_suffix(".jsonl").open("a") as file:
        file.write(line + "\n")
    return sample, figures


def _alternate(program: str, rows: Mapping[str, int], rounds: int) -> Mapping[str, Figures]:
    found: dict[str, list[tuple[Sample, dict[str, Any]]]] = {way: [] for way in rows}
    for _ in range(rounds):
        for way, number in rows.items():
            found[way].append(_trial(f"{program} {way}", program, way, str(number)))
    return found


@cache
def _sinks(size: Size) -> Mapping[str, Figures]:
    return _alternate("bigquery_sinks.py", _SMALL_ROWS if size.small else _SINK_ROWS, size.rounds)


@cache
def _sources(size: Size) -> Mapping[str, Figures]:
    rows = dict.fromkeys(_SOURCE_ROWS, 20_000) if size.small else _SOURCE_ROWS
    return _alternate("bigquery_sources.py", rows, size.rounds)


def _ratio(
    found: Mapping[str, Figures], other: str, figure: Callable[[dict[str, Any]], float]
) -> Ratio:
    """Turns a figure of ours and of another way into a ratio."""
    over, under = ([figure(figures) for _, figures in found[way]] for way in ("scoreline", other))
    by_round = [one / two for one, two in zip(over, under, strict=True)]
    middle = Spread.of(over).median / Spread.of(under).median
    samples = {way: [sample for sample, _ in found[way]] for way in ("scoreline", other)}
    return Ratio(Spread(middle, min(by_round), max(by_round)), samples)


def _per_sec(figures: dict[str, Any]) -> float:
    return float(figures["rows"] / figures["secs"])


def _per_row(name: str) -> Callable[[dict[str, Any]], float]:
    return lambda figures: float(figures[name] / figures["rows"])


def _sink(other: str) -> Callable[[Size], Ratio]:
    return lambda size: _ratio(_sinks(size), other, _per_sec)


def _sent(other: str, name: str) -> Callable[[Size], Ratio]:
    """How many requests or bytes a row takes; the runs are those of `_sink`."""
    return lambda size: replace(_ratio(_sinks(size), other, _per_row(name)), samples={})


def _source(size: Size) -> Ratio:
    return _ratio(_sources(size), "direct-read", _per_sec)


def _framing(batch_rows: int, *more: str) -> Callable[[Size], Ratio]:
    def measure(size: Size) -> Ratio:
        rounds = 1 if size.small else max(_FRAMING_ROUNDS, size.rounds)
        words = (str(batch_rows), str(rounds), *more)
        argv = [sys.executable, str(_HERE / "bigquery_framing.py"), *words]
        said = subprocess.run(argv, capture_output=True, text=True, timeout=_FRAMING_SECS)
        if said.returncode != 0:
            raise RuntimeError(said.stderr.strip()[-2000:])
        print(said.stdout, file=sys.stderr, end="")
        lines = [tuple(map(float, line.split())) for line in said.stdout.splitlines()]
        over, under = zip(*lines, strict=True)
        by_round = [one / two for one, two in lines]
        middle = Spread.of(over).median / Spread.of(under).median
        samples = {
            f"{name}, {batch_rows:,} rows a batch": [Sample(secs, secs, 0, "") for secs in found]
            for name, found in (("requests", over), ("IPC", under))
        }
        return Ratio(Spread(middle, min(by_round), max(by_round)), samples)

    return measure


def _memory(size: Size) -> Ratio:
    """The peak of our process, many rows ÷ few, against a double that drops them."""
    found: dict[str, list[Sample]] = {}
    for _ in range(size.rounds):
        for number in (size.rows(20_000_000), size.rows(1_000_000)):
            name = f"appends {number:,} rows"
            argv = (sys.executable, str(_HERE / "bigquery_memory.py"), str(number))
            with dropping_double() as variables:
                sample = run(Command(name, argv, environment=variables))
            print(f"  {name}: {sample.peak_rss_bytes / 2**20:.0f} MiB", file=sys.stderr, flush=True)
            found.setdefault(name, []).append(sample)
    return _of_samples(found, lambda sample: float(sample.peak_rss_bytes))


def _job(size: Size) -> Ratio:
    """The CPU time of our process, table → model → table ÷ file → model → file, less imports."""
    job = Job("logistic", size.rows(1_000_000))
    start = programs.imports("scoreline", job)
    found: dict[str, list[Sample]] = {}
    imports: list[float] = []
    for _ in range(size.rounds):
        with fresh_bigquery() as variables:
            table = bigquery_job(job, variables)
            found.setdefault(table.name, []).append(run(replace(table, environment=variables)))
        files = files_job(job)
        found.setdefault(files.name, []).append(run(files))
        imports.append(run(start).cpu_secs)
        for name, samples in found.items():
            print(f"  {name}: {samples[-1].cpu_secs:.2f} s CPU", file=sys.stderr, flush=True)
    import_secs = Spread.of(imports).median
    return _of_samples(found, lambda sample: sample.cpu_secs - import_secs)


def _of_samples(found: Mapping[str, list[Sample]], figure: Callable[[Sample], float]) -> Ratio:
    over, under = ([figure(sample) for sample in samples] for samples in found.values())
    by_round = [one / two for one, two in zip(over, under, strict=True)]
    middle = Spread.of(over).median / Spread.of(under).median
    return Ratio(Spread(middle, min(by_round), max(by_round)), found)


GOALS = (
    Goal(
        "sink-streaming",
        "sink rows/s ÷ Beam's STREAMING_INSERTS",
        "≥",
        20,
        40,
        _sink("streaming-inserts"),
    ),
    Goal(
        "sink-json",
        "sink rows/s ÷ `insert_rows_json`, 10,000 a call",
        "≥",
        3,
        8,
        _sink("insert-json"),
    ),
    Goal(
        "sink-requests-streaming",
        "requests a row ÷ STREAMING_INSERTS",
        "≤",
        None,
        None,
        _sent("streaming-inserts", "requests"),
    ),
    Goal(
        "sink-requests-json",
        "requests a row ÷ `insert_rows_json`",
        "≤",
        None,
        None,
        _sent("insert-json", "requests"),
    ),
    Goal(
        "sink-bytes-json",
        "bytes a row ÷ `insert_rows_json`",
        "≤",
        None,
        None,
        _sent("insert-json", "bytes"),
    ),
    Goal(
        "framing-10000",
        "CPU, batch → request ÷ plain Arrow IPC, 10,000 rows a batch",
        "≤",
        1.3,
        1.0,
        _framing(10_000),
    ),
    Goal("framing-50000", "the same, 50,000 rows a batch", "≤", 1.3, 1.0, _framing(50_000)),
    Goal(
        "framing-dictionary",
        "the same, with one of ten columns to be decoded",
        "≤",
        None,
        None,
        _framing(50_000, "--dictionary"),
    ),
    Goal("source", "source rows/s ÷ Beam's DIRECT_READ", "≥", 5, 8, _source),
    Goal("memory", "peak RSS of the sink, 20,000,000 rows ÷ 1,000,000", "≤", 1.1, 1.0, _memory),
    Goal(
        "job",
        "CPU of our process, 1,000,000 rows, table → model → table ÷ files → model → files",
        "≤",
        None,
        None,
        _job,
    ),
)


if __name__ == "__main__":
    sys.exit(goals.main(GOALS, _TABLE, __doc__.splitlines()[0]))
