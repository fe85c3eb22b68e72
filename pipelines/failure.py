"""Says in a line or two why a run failed, out of what Beam raises."""

import errno
import re

_STEP = re.compile(r" \[while running '(?P<step>[^']+)'\]")


def explain(error: BaseException) -> str:
    """The cause at the bottom of an exception, the step it happened in, and what is left."""
    step = _STEP.search(str(error))
    cause = _root(error)
    message = _STEP.split(str(cause))[0].strip() or repr(cause)
    where = f" in {step['step']}" if step else ""
    return (
        f"the run failed{where}: {type(cause).__name__}: {message}{_advice(cause)}\n"
        "Nothing was made final; the same command starts anew."
    )


def _root(error: BaseException) -> BaseException:
    """Beam re-raises as the class it was, or as a RuntimeError whose text holds the traceback."""
    while error.__cause__ is not None and not isinstance(error, OSError):
        error = error.__cause__
    return error


def _advice(cause: BaseException) -> str:
    number = getattr(cause, "errno", None)
    if number == errno.ENOSPC:
        return ". The disk is full: make room, or choose another --output."
    if number in (errno.EACCES, errno.EPERM, errno.EROFS):
        return ". Check who may write to --output."
    return ""
