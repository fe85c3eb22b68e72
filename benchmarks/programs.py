"""Turns a program's name and a job into the command to measure.

Each program also says what it imports. The time of that, measured in the same way, is taken off
where a row of the table compares the work and not the start. A list holds what a program cannot
work without; scoreline's own modules are not in it, so loading them counts as scoreline's work.
Taking Beam's modules apart when Python ends costs 0.7 s more. scoreline leaves that out, so it is
left out of its imports as well: otherwise it would be given 0.7 s that it never spent.
"""

import shlex
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import ray_environment
from inputs import WORK, model_file, rows_file
from measure import Command

BEAM_IMPORT = "import apache_beam, sklearn.ensemble, pyarrow"  # the yardstick of a small run

_HERE = Path(__file__).parent
_SCORELINE = str(Path(sysconfig.get_path("scripts")) / "scoreline")
SCORE = (_SCORELINE, "score", *shlex.split("--allow-pickle --overwrite --quiet"))
_COLUMNS = "joblib, pandas, pyarrow.parquet"
_BEAM = "apache_beam, apache_beam.ml.inference.base, apache_beam.runners.portability.fn_api_runner"
_IMPORTS = {
    "loop": _COLUMNS,
    "tuned-loop": _COLUMNS,
    "scoreline": f"{_BEAM}, {_COLUMNS}, pydantic, yaml",
    "stock-beam": f"{_BEAM}, {_COLUMNS}, apache_beam.ml.inference.sklearn_inference",
    "ray": f"ray.data, {_COLUMNS}",
}
_LEAVES_AT_ONCE = ("scoreline",)  # ends with os._exit
_LINEAR_IMPORTS = "sklearn.linear_model, sklearn.pipeline"
_MODEL_IMPORTS = {"trees": "sklearn.ensemble"}  # unpickling a model imports its modules


@dataclass(frozen=True)
class Job:
    """What a program is asked to do, in the words of data.py."""

    model: str
    num_rows: int
    kind: str = "clean"


def command(program: str, job: Job, *more: str) -> Command:
    """Turns a program and a job into its command; `more` are arguments for the program."""
    name = f"{program}-{job.model}-{job.kind}-{job.num_rows}"
    output = WORK / "outputs" / name
    model, source = str(model_file(job.model)), str(rows_file(job.kind, job.num_rows))
    argv = (*_argv(program, output), "--model", model, "--input", source, *more)
    return Command(name, argv, output)


def imports(program: str, job: Job, *more: str) -> Command:
    """Turns a program into the command that only imports what the program imports, and `more`."""
    model = _MODEL_IMPORTS.get(job.model, _LINEAR_IMPORTS)
    code = f"import {', '.join([_IMPORTS[program], model, *more])}"
    if program in _LEAVES_AT_ONCE:
        code += "; import os; os._exit(0)"
    return Command(f"{program}-{job.model}-imports", (_python(program), "-c", code))


def beam_import() -> Command:
    """Returns the yardstick of small runs: what any user of Beam and scikit-learn waits for."""
    return Command("import", (sys.executable, "-c", BEAM_IMPORT))


def scoreline_help() -> Command:
    """Returns the command that shows scoreline's help."""
    return Command("scoreline-help", (_SCORELINE, "--help"))


def _argv(program: str, output: Path) -> tuple[str, ...]:
    if program == "scoreline":
        return (*SCORE, "--output", str(output))
    if program == "stock-beam":
        return _script(program, "stock_beam.py", output / "part")
    if program == "ray":
        return _script(program, "ray_data.py", output)
    loop = _script(program, "loop.py", output / "part.parquet")
    return (*loop, "--dictionary", "strings") if program == "tuned-loop" else loop


def _script(program: str, file: str, output: Path) -> tuple[str, ...]:
    return (_python(program), str(_HERE / file), "--output", str(output))


def _python(program: str) -> str:
    return str(ray_environment.ensure()) if program == "ray" else sys.executable
