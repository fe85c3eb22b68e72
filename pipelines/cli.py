"""The command line: verbs, errors, exit codes. Nothing here imports Beam before it must."""

import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, NoReturn

from scoreline import __version__

from .arguments import Arguments, arities, split_arguments
from .errors import ExitCode, UsageError
from .flags import score_parser
from .stop import end_on_signals

if TYPE_CHECKING:
    from .display import Display

_FIVE_MINUTES = f"""\
scoreline {__version__}: score live or stored data with a trained model, every row accounted for.

  scoreline score --model churn.joblib --allow-pickle --input 'customers/*.parquet' --output scores

reads the Parquet files, checks each row against what the model takes, and writes the rows with a
column `prediction` to scores/part-*.parquet. Rows that cannot be scored are in
scores/_dead_letters, with the reason.

  scoreline score --help     all flags
"""


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
    end_on_signals()
    code = main()
    with suppress(BrokenPipeError):
        sys.stdout.flush()
    with suppress(BrokenPipeError):
        sys.stderr.flush()
    os._exit(code)


def _verb(name: str) -> Callable[[list[str]], int]:
    verbs = {"score": _score}
    if name not in verbs:
        raise UsageError(_unknown_verb(name, list(verbs)))
    return verbs[name]


def _unknown_verb(name: str, verbs: list[str]) -> str:
    near = get_close_matches(name, verbs, n=1)
    hint = f"; did you mean {near[0]}?" if near else "."
    return f"unknown command {name!r}{hint} Expected one of: {', '.join(verbs)}"


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
    from .failure import RunFailedError, explain
    from .job import make_job
    from .launch import run

    display = Display(quiet=flags["quiet"], as_json=flags["output_json"])
    output = flags["output"]
    try:
        job = make_job(_job_values(flags))
        with _only_what_we_say(display, arguments.beam):
            report = run(job, arguments.beam, display, overwrite=flags["overwrite"])
    except (UsageError, ContractError, UnreadableFileError) as error:
        display.error(str(error))
        return ExitCode.USAGE
    except ModelError as error:
        display.error(str(error))
        return ExitCode.MODEL_UNFIT
    except RunFailedError as error:
        display.error(str(error))
        return ExitCode.FAILED
    except KeyboardInterrupt:  # only if this is a part of somebody's own program: see `console`
        display.error("interrupted: nothing was made final")
        return ExitCode.INTERRUPTED
    except Exception as error:  # before anything started: whatever a disk or a service raised
        display.error(f"{explain(error, output)}\nNothing was started.")
        return ExitCode.FAILED
    display.summary(report)
    return ExitCode(report["exit_code"])


@contextmanager
def _only_what_we_say(display: "Display", beam_flags: Sequence[str]) -> Iterator[None]:
    """Keeps Beam's log from the user, who can have it back by Beam's own flag; and warnings short.

    Beam logs the trace of what we explain in a line.
    """
    root = logging.getLogger()
    level = root.level
    if not any(flag.startswith("--default_sdk_harness_log_level") for flag in beam_flags):
        root.setLevel(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.showwarning = display.warning
        try:
            yield
        finally:
            root.setLevel(level)
