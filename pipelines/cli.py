"""The command line: verbs, errors, exit codes. Nothing here imports Beam before it must."""

import argparse
import json
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import fields
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, NoReturn

from scoreline import __version__

from .arguments import Arguments, arities, split_arguments
from .errors import ExitCode, NoAnswerError, UsageError
from .flags import (
    check_parser,
    completion_parser,
    model_parser,
    run_parser,
    schema_parser,
    score_parser,
)
from .stdout import print_document
from .stop import end_on_signals

if TYPE_CHECKING:
    from .display import Display
    from .job import Job

Flags = dict[str, Any]

_FIVE_MINUTES = f"""\
scoreline {__version__}: score live or stored data with a trained model, every row accounted for.

  scoreline score --model churn.joblib --allow-pickle --input 'customers/*.parquet' --output scores

reads the files, checks each row against what the model takes, and writes the rows with a column
`prediction` to scores/part-*.parquet. Rows that cannot be scored are in scores/_dead_letters, with
the reason.

  scoreline score --help           all flags: CSV, JSON lines and Avro, what to keep, ...
  scoreline score ... --dry-run    says what would be done and what does not fit; reads no data
  scoreline score ... --print-job  prints the job file that the flags stand for
  scoreline check JOB.yaml         the dry run of a job file
  scoreline run JOB.yaml           runs it; --set a.b=c changes a value for this run
  scoreline model inspect MODEL    what a model is and takes, without running anything of it
  scoreline schema                 the job file's JSON Schema, for an editor's completion
  scoreline template               a form on Dataflow by which colleagues start jobs
  scoreline completion SHELL       completion for bash, zsh or fish
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and gives the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help", "help"):
        print_document(_FIVE_MINUTES)
        return ExitCode.FINISHED
    if words[0] == "--version":
        print_document(f"scoreline {__version__}")
        return ExitCode.FINISHED
    try:
        return _verb(words[0])(words[1:])
    except UsageError as error:
        print(f"scoreline: {error}", file=sys.stderr)  # noqa: T201
        return ExitCode.USAGE


def console(argv: Sequence[str] | None = None) -> NoReturn:
    """Ends the process with the exit code of `main`.

    Without Python's own tear-down: it waits for threads of Beam's that serve nobody any more, and
    costs a fifth of a second. All that matters is on disk by now.
    """
    end_on_signals()
    # Else gRPC itself logs every connection that a service closes; we say it once, in a line.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    code = main(argv)
    with suppress(BrokenPipeError):
        sys.stdout.flush()
    with suppress(BrokenPipeError):
        sys.stderr.flush()
    os._exit(code)


def _verb(name: str) -> Callable[[list[str]], int]:
    verbs = {
        "score": _score,
        "run": _run,
        "check": _check,
        "schema": _schema,
        "model": _model,
        "template": _template,
        "completion": _completion,
    }
    if name not in verbs:
        raise UsageError(_unknown_verb(name, list(verbs)))
    return verbs[name]


def _unknown_verb(name: str, verbs: list[str]) -> str:
    near = get_close_matches(name, verbs, n=1)
    hint = f"; did you mean {near[0]}?" if near else "."
    return f"unknown command {name!r}{hint} Expected one of: {', '.join(verbs)}"


def parse(
    parser: argparse.ArgumentParser, words: list[str], *, files: int = 0
) -> tuple[Flags, Arguments] | None:
    """The flags of a verb, and Beam's; None if only help was wanted, which is printed."""
    if {"-h", "--help"} & set(words):
        parser.print_help()
        return None
    arguments = split_arguments(words, arities(parser))
    surplus = arguments.positionals[files:]
    if surplus:
        raise UsageError(
            f"unexpected {' '.join(surplus)!r}. An input is named with --input; if the shell "
            "expanded a glob, put it in quotes."
        )
    rest = ["--", *arguments.positionals] if arguments.positionals else []
    return vars(parser.parse_args([*arguments.ours, *rest])), arguments


def _score(words: list[str]) -> int:
    parsed = parse(score_parser(), words)
    if parsed is None:
        return ExitCode.FINISHED
    flags, arguments = parsed
    from .job import as_yaml, make_job
    from .score_job import score_values

    job = make_job(score_values(flags))
    if flags["print_job"]:
        print_document(as_yaml(job))
        return ExitCode.FINISHED
    return _check_job(job, flags, arguments) if flags["dry_run"] else _start(job, flags, arguments)


def _run(words: list[str]) -> int:
    parsed = parse(run_parser(), words, files=1)
    if parsed is None:
        return ExitCode.FINISHED
    flags, arguments = parsed
    job = _read_job(flags, arguments)
    return _check_job(job, flags, arguments) if flags["dry_run"] else _start(job, flags, arguments)


def _check(words: list[str]) -> int:
    parsed = parse(check_parser(), words, files=1)
    if parsed is None:
        return ExitCode.FINISHED
    flags, arguments = parsed
    return _check_job(_read_job(flags, arguments), flags, arguments)


def _schema(words: list[str]) -> int:
    if parse(schema_parser(), words) is not None:
        from .job import Job

        print_document(json.dumps(Job.model_json_schema(), indent=2))
    return ExitCode.FINISHED


def _model(words: list[str]) -> int:
    parsed = parse(model_parser(), words, files=2)
    if parsed is None:
        return ExitCode.FINISHED
    flags, arguments = parsed
    from scoreline.models.errors import ContractError, ModelError
    from scoreline.models.trust import Trust

    from .display import Display
    from .launch import beam_options
    from .model_inspect import as_json, as_text, contract_yaml, inspect_model
    from .schemes import check_scheme

    display = Display()
    try:
        trust = Trust(**{field.name: flags[field.name] for field in fields(Trust)})
    except ValueError as error:
        raise UsageError(f"--{error}") from None
    try:
        with _only_what_we_say(display, arguments.beam):
            check_scheme(flags["model"], beam_options(arguments.beam))
            found = inspect_model(flags["model"], trust)
            if flags["contract_yaml"]:
                print_document(contract_yaml(found, flags["features"]))
                return ExitCode.FINISHED
            print_document(as_json(found) if flags["output_json"] else as_text(found))
    except ContractError as error:
        raise UsageError(str(error)) from None
    except ModelError as error:
        display.error(str(error))
        return ExitCode.MODEL_UNFIT
    if found.refusal is not None:
        display.error(found.refusal)
    return found.exit_code


def _template(words: list[str]) -> int:
    from .template_cli import template

    return template(words)


def _completion(words: list[str]) -> int:
    parsed = parse(completion_parser(), words, files=1)
    if parsed is not None:
        from .completion import completion_script

        print_document(completion_script(parsed[0]["shell"]))
    return ExitCode.FINISHED


def _read_job(flags: Flags, arguments: Arguments) -> "Job":
    from .job import make_job
    from .job_file import read_job_values

    if "://" in flags["job"]:
        from .launch import beam_options
        from .schemes import check_scheme

        check_scheme(flags["job"], beam_options(arguments.beam))
    found = read_job_values(flags["job"], flags["set"] or ())
    return make_job(found.values, found.variables)


def _start(job: "Job", flags: Flags, arguments: Arguments) -> int:
    """Runs the job to its end."""
    _refuse_flags(job, flags)

    def run_job(display: "Display") -> int:
        if job.is_stream:
            from .stream import Watch, run_stream

            watch = Watch(flags["status_secs"] or Watch.status_secs, flags["metrics_port"])
            report = run_stream(job, arguments.beam, display, watch)
        else:
            from .launch import run

            report = run(job, arguments.beam, display, overwrite=flags["overwrite"])
        display.summary(report)
        return ExitCode(report["exit_code"])

    return _settle(job, flags, arguments, run_job)


def _check_job(job: "Job", flags: Flags, arguments: Arguments) -> int:
    """Says what the job would do."""
    _refuse_flags(job, flags)

    def check(display: "Display") -> int:
        if job.is_stream:
            from .check_stream import check_stream_job

            display.findings(check_stream_job(job, arguments.beam))
        else:
            from .check import check_job

            display.findings(check_job(job, arguments.beam, overwrite=flags["overwrite"]))
        return ExitCode.FINISHED

    return _settle(job, flags, arguments, check)


def _refuse_flags(job: "Job", flags: Flags) -> None:
    """Raises UsageError for a flag that this kind of job cannot make use of."""
    if job.is_stream and flags["overwrite"]:
        raise UsageError("--overwrite: a stream adds to what is there; leave the flag out")
    if flags["overwrite"] and not job.has_files:
        raise UsageError(
            "--overwrite: it replaces files, and the job writes none; rows of a table are replaced "
            "with --write truncate (sinks.N.write)"
        )
    for name in ("status_secs", "metrics_port"):
        if not job.is_stream and flags.get(name) is not None:
            flag = f"--{name.replace('_', '-')}"
            raise UsageError(f"{flag}: the job reads stored data; {flag} is for a stream")


def _settle(
    job: "Job", flags: Flags, arguments: Arguments, action: Callable[["Display"], int]
) -> int:
    """Does something with a job; every way in which that can end has its exit code here."""
    from scoreline.models.errors import ContractError, ModelError
    from scoreline.transforms.parquet_files import UnreadableFileError

    from .display import Display
    from .failure import RunFailedError, explain

    display = Display(quiet=flags["quiet"], as_json=flags["output_json"])
    try:
        with _only_what_we_say(display, arguments.beam):
            return action(display)
    except (UsageError, ContractError, UnreadableFileError) as error:
        display.error(str(error))
        return ExitCode.USAGE
    except ModelError as error:
        display.error(str(error))
        return ExitCode.MODEL_UNFIT
    except (RunFailedError, NoAnswerError) as error:
        display.error(str(error))
        return ExitCode.FAILED
    except KeyboardInterrupt:  # only if this is a part of somebody's own program: see `console`
        display.error("interrupted: nothing was made final")
        return ExitCode.INTERRUPTED
    except Exception as error:  # before anything started: whatever a disk or a service raised
        display.error(f"{explain(error, job.sinks[0].path)}\nNothing was started.")
        return ExitCode.FAILED


@contextmanager
def _only_what_we_say(display: "Display", beam_flags: Sequence[str]) -> Iterator[None]:
    """Keeps Beam's log from the user, who can have it back by Beam's own flag; and warnings short.

    Beam logs the trace of what we explain in a line.
    """
    root = logging.getLogger()
    level, nowhere = root.level, logging.NullHandler()
    if not any(flag.startswith("--default_sdk_harness_log_level") for flag in beam_flags):
        root.setLevel(logging.CRITICAL)
        root.addHandler(nowhere)  # or the job servers' own loggers, which set levels, would print
    with warnings.catch_warnings(), _our_log(display):
        warnings.showwarning = display.warning
        try:
            yield
        finally:
            root.setLevel(level)
            root.removeHandler(nowhere)


@contextmanager
def _our_log(display: "Display") -> Iterator[None]:
    """Shows what our own modules log: that a service does not answer, and when it does again."""
    from .display import NoteHandler

    logger = logging.getLogger("scoreline")
    handler = NoteHandler(display)
    level, propagates = logger.level, logger.propagate
    logger.setLevel(logging.WARNING)
    logger.propagate = False
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagates
