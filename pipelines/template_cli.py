"""The verb `template`: builds, checks and starts the Dataflow template. Beam is not imported."""

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from difflib import get_close_matches

from .arguments import Arguments
from .cli import Flags, parse
from .errors import ExitCode, UsageError
from .stdout import print_document
from .template_flags import TEMPLATE_PARSERS
from .template_parameters import JOB_FILE, parameters

_PAGE = """\
scoreline template: a form on Dataflow by which colleagues start jobs without Python.

  scoreline template build --image IMAGE --output DIR   writes scoreline.json, which is published
                                                        at gs://, and metadata.json
  scoreline template check SPEC                         says whether a published one still fits
  scoreline template run SPEC --input ... --print       prints the call of gcloud that starts a
                                                        job; without --print it is made

`scoreline template ACTION --help` lists the flags of an action.
"""


def template(words: Sequence[str]) -> int:
    """Does what stands behind `scoreline template`; gives the exit code."""
    if not words or words[0] in ("-h", "--help"):
        print_document(_PAGE)
        return ExitCode.FINISHED
    action, rest = words[0], list(words[1:])
    if action not in TEMPLATE_PARSERS:
        near = get_close_matches(action, list(TEMPLATE_PARSERS), n=1)
        hint = f"; did you mean {near[0]}?" if near else "."
        names = ", ".join(TEMPLATE_PARSERS)
        raise UsageError(f"unknown action {action!r}{hint} Expected one of: {names}")
    parsed = parse(TEMPLATE_PARSERS[action](), rest, files=0 if action == "build" else 1)
    if parsed is None:
        return ExitCode.FINISHED
    return _ACTIONS[action](*parsed)


def _build(flags: Flags, arguments: Arguments) -> int:
    from .template_environment import environment_of
    from .template_spec import METADATA, SPEC, container_spec, write_files

    spec = container_spec(flags["image"], environment_of(arguments.beam))
    files = {SPEC: spec, METADATA: spec["metadata"]}
    paths = write_files(flags["output"], files, overwrite=flags["overwrite"])
    print_document("\n".join(paths))
    return ExitCode.FINISHED


def _check(flags: Flags, _arguments: Arguments) -> int:
    from .template_check import check_spec

    print_document(check_spec(flags["spec"]))
    return ExitCode.FINISHED


def _run(flags: Flags, arguments: Arguments) -> int:
    from .template_gcloud import as_shell, gcloud_call, start
    from .template_program import values_of

    own = {parameter.flag for parameter in parameters().values()}
    values = values_of([word for word in arguments.ours if word.partition("=")[0] in own])
    if JOB_FILE not in values:
        _check_values(flags)
    call = gcloud_call(flags["spec"], values, arguments.beam, datetime.now(UTC))
    if flags["print"]:
        print_document(as_shell(call))
        return ExitCode.FINISHED
    sys.stderr.write(f"{as_shell(call)}\n")
    return start(call)


def _check_values(flags: Flags) -> None:
    """Finds here what the launcher would find minutes later."""
    from .flags import score_parser
    from .job import make_job
    from .score_job import score_values

    defaults = {action.dest: action.default for action in score_parser()._actions}
    make_job(score_values({**defaults, **flags}))


_ACTIONS = {"build": _build, "check": _check, "run": _run}
