"""The command line: verbs, errors, exit codes. Nothing here imports Beam before it must."""

import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any, NoReturn

from scoreline import __version__

from .arguments import Arguments, arities, split_arguments
from .errors import ExitCode, UsageError
from .flags import score_parser

_FIVE_MINUTES = f"""\
scoreline {__version__}: score live or stored data with a trained model, every row accounted for.

  scoreline score --model churn.joblib --allow-pickle --input 'customers/*.parquet' --output scores

reads the Parquet files, checks each row against what the model takes, and writes the rows with a
column `prediction` to scores/part-*.parquet. Rows that cannot be scored are in scores/_dead_letters,
with the reason.

  scoreline score --help     all flags
"""


class Interrupted(BaseException):
    """A signal asked the process to stop."""

    def __init__(self, exit_code: ExitCode):
        super().__init__(exit_code)
        self.exit_code = exit_code


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and gives the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help", "help"):
        print(_FIVE_MINUTES)  # noqa: T201
        return ExitCode.FINISHED
    if words[0] == "--version":
        print(f"scoreline {__version__}")  # noqa: T201
        return ExitCode.FINISHED
    try:
        return _verb(words[0])(words[1:])
    except UsageError as error:
        print(f"scoreline: {error}", file=sys.stderr)  # noqa: T201
        return ExitCode.USAGE


def console() -> NoReturn:
    """Ends the process with the exit code of `main`.

    Without Python's own tear-down: it waits for threads of Beam's that serve nobody any more, and
    costs a fifth of a second. All that matters is on disk by now.
    """
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _verb(name: str) -> Callable[[list[str]], int]:
    verbs = {"score": _score}
    if name not in verbs:
        raise UsageError(f"unknown command {name!r}; expected one of {', '.join(verbs)}")
    return verbs[name]


def _score(words: list[str]) -> int:
    parser = score_parser()
    if {"-h", "--help"} & set(words):
        parser.print_help()
        return ExitCode.FINISHED
    arguments = split_arguments(words, arities(parser))
    if arguments.positionals:
        raise UsageError(
            f"unexpected {' '.join(arguments.positionals)!r}: the input is named with --input. If "
            "the shell expanded a glob, put it in quotes."
        )
    flags = parser.parse_args(arguments.ours)
    return _run(vars(flags), arguments)


def _job_values(flags: dict[str, Any]) -> dict[str, Any]:
    """The job that the flags of `score` stand for."""
    model = flags["model"]
    return {
        "name": flags["name"] or model.rstrip("/").rsplit("/", 1)[-1].split(".")[0] or "score",
        "source": {"type": "files", "path": flags["input"]},
        "model": {
            "uri": model,
            **{key: flags[key] for key in ("outputs", "features", "preprocess", "postprocess")},
            "trust": {
                key: flags[key] for key in ("sha256", "allow_pickle", "allow_code", "skops_types")
            },
        },
        "sinks": [{"path": flags["output"], "keep": flags["keep"], "row_id": flags["row_id"]}],
        "dead_letters": {
            "path": flags["dead_letters"],
            "max_ratio": flags["max_dead_letter_ratio"],
        },
        "report": {"path": flags["report"]},
    }


def _run(flags: dict[str, Any], arguments: Arguments) -> int:
    """Runs the job; every way in which it can end has its exit code here."""
    from scoreline.models.errors import ContractError, ModelError
    from scoreline.transforms.parquet_files import UnreadableFileError

    from .display import Display
    from .failure import explain
    from .job import make_job
    from .launch import run

    # Beam logs every stage it runs; what a person should know, we say.
    logging.getLogger().setLevel(logging.ERROR)
    job = make_job(_job_values(flags))
    display = Display(quiet=flags["quiet"], as_json=flags["output_json"])
    _raise_on_signals()
    try:
        report = run(job, arguments.beam, display, overwrite=flags["overwrite"])
    except (UsageError, ContractError, UnreadableFileError) as error:
        display.error(str(error))
        return ExitCode.USAGE
    except ModelError as error:
        display.error(str(error))
        return ExitCode.MODEL_UNFIT
    except Interrupted as interrupted:
        display.error("interrupted: nothing was made final")
        return interrupted.exit_code
    except Exception as error:  # the run failed: anything that a worker, a disk or a service raised
        display.error(explain(error))
        return ExitCode.FAILED
    display.summary(report)
    return ExitCode(report["exit_code"])


def _raise_on_signals() -> None:
    for number, code in (
        (signal.SIGINT, ExitCode.INTERRUPTED),
        (signal.SIGTERM, ExitCode.TERMINATED),
    ):

        def raise_interrupted(
            _number: int, _frame: FrameType | None, code: ExitCode = code
        ) -> None:
            raise Interrupted(code)

        signal.signal(number, raise_interrupted)
