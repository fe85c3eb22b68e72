"""Turns a program's name, a model and a file into the command to measure.

Each program also says what it imports. The time of that, measured in the same way, is taken off
where a row of the table compares the work and not the start. A list holds what a program cannot
work without, from outside the benchmark and scoreline alike: scoreline's own modules count as work.
"""

import shlex
import sys
import sysconfig
from dataclasses import dataclass, replace
from pathlib import Path

import ray_environment
from inputs import WORK
from measure import Command

BEAM_IMPORT = "import apache_beam, sklearn.ensemble, pyarrow"  # the yardstick of a small run

_HERE = Path(__file__).parent
_OUTPUTS = WORK / "outputs"
_SCORELINE = str(Path(sysconfig.get_path("scripts")) / "scoreline")
_MODEL_IMPORTS = "joblib, pandas, pyarrow.parquet, sklearn.ensemble, sklearn.linear_model"
_RUNNER = "apache_beam.runners.portability.fn_api_runner"
_BEAM_IMPORTS = f"apache_beam, apache_beam.ml.inference.base, {_RUNNER}, {_MODEL_IMPORTS}"
IMPORTS = {
    "loop": _MODEL_IMPORTS,
    "tuned-loop": _MODEL_IMPORTS,
    "scoreline": f"{_BEAM_IMPORTS}, pydantic, yaml",
    "stock-beam": f"{_BEAM_IMPORTS}, apache_beam.ml.inference.sklearn_inference",
    "ray": f"ray.data, {_MODEL_IMPORTS}",
}


@dataclass(frozen=True)
class Job:
    """What a program is asked to do."""

    model: Path
    source: Path


def command(program: str, job: Job, *more: str, label: str = "") -> Command:
    """Turns a program and a job into its command; `more` are arguments for the program."""
    name = f"{program}{label}"
    output = _OUTPUTS / name
    argv = (*_argv(program, output), "--model", str(job.model), "--input", str(job.source), *more)
    return Command(name, argv, output)


def imports(program: str) -> Command:
    """Turns a program into the command that only imports what the program imports."""
    python = str(ray_environment.ensure()) if program == "ray" else sys.executable
    return Command(f"{program}-imports", (python, "-c", f"import {IMPORTS[program]}"))


def beam_import() -> Command:
    """Returns the yardstick of small runs: what any user of Beam and scikit-learn waits for."""
    return Command("import", (sys.executable, "-c", BEAM_IMPORT))


def scoreline_help() -> Command:
    """Returns the command that shows scoreline's help."""
    return Command("help", (_SCORELINE, "--help"))


def with_environment(given: Command, **environment: str) -> Command:
    """Returns the command with variables set."""
    return replace(given, environment={**given.environment, **environment})


def _argv(program: str, output: Path) -> tuple[str, ...]:
    if program == "scoreline":
        fixed = shlex.split("score --allow-pickle --overwrite --quiet")
        return (_SCORELINE, *fixed, "--output", str(output))
    if program == "stock-beam":
        return (sys.executable, str(_HERE / "stock_beam.py"), "--output", str(output / "part"))
    if program == "ray":
        python = str(ray_environment.ensure())
        return (python, str(_HERE / "ray_data.py"), "--output", str(output))
    part = str(output / "part.parquet")
    loop = (sys.executable, str(_HERE / "loop.py"), "--output", part)
    return (*loop, "--dictionary", "strings") if program == "tuned-loop" else loop
