"""Says in a line or two why a run failed, out of what Beam raises."""

import errno
import re

_STEP = re.compile(r"\s*\[while running '(?P<step>[^']+)'\]")
_TRACEBACK = "Traceback (most recent call last):"
_CLASS = re.compile(r"(?:\w+\.)*(?P<name>\w+(?:Error|Exception)): (?P<message>.*)", re.DOTALL)
_NUMBER = re.compile(r"\[Errno (\d+)\]")
_ADVICE = {
    errno.ENOSPC: "The disk is full: make room, or choose another --output.",
    errno.EDQUOT: "Your quota is used up: make room, or choose another --output.",
    errno.EFBIG: "A file grew larger than it may here: see ulimit -f, or choose another --output.",
    errno.EACCES: "Check who may read --input and write to --output.",
    errno.EPERM: "Check who may read --input and write to --output.",
    errno.EROFS: "The file system is read-only: choose another --output.",
}


# What one row may cause and no row is given up for: see `models.scoring.score_rows`.
_OF_A_ROW = re.compile(r": (ModelOutputError|MemoryError)\b")
_OF_THE_MODEL = re.compile(r": RowCountError\b")  # no row was to blame for it


class RunFailedError(Exception):
    """A run that started did not end well; the message says why, and what is left of it."""


def explain(error: BaseException, output: str) -> str:
    """The cause at the bottom of an exception, the step it happened in, and what to do."""
    chain = _chain(error)
    text = _last_raised(str(chain[-1])) or repr(chain[-1])
    found = (_STEP.search(str(link)) for link in chain)
    step = next((match["step"] for match in found if match), None)
    name, message = _named(chain[-1], _STEP.sub("", text).strip())
    where = f" in {step.split('/')[0]}" if step else ""
    hint = _advice(message, getattr(chain[-1], "errno", None))
    return f"the run into {output} failed{where}: {name}: {message}{hint}"


def after_a_stream(cause: str) -> str:
    """What to do after a stream has failed, by what `explain` says of it."""
    said = "What was not acknowledged is redelivered: start the same command again."
    if _OF_THE_MODEL.search(cause) is not None:
        return (
            "What was not acknowledged is redelivered: mend the function or the model, and start "
            "the same command again."
        )
    if _OF_A_ROW.search(cause) is None:
        return said
    return (
        f"{said} If that ends it again and again, one of the messages in hand is to blame and "
        "stays with it: docs/streaming.md, 'A message that ends the stream', says how to find it "
        "and take it out."
    )


def last_java_cause(stacktrace: str) -> str:
    r"""What is at the bottom of a Java stack trace; a Python worker's traceback is there as text.

    >>> last_java_cause("org.X: it failed\n\tat y\nCaused by: Z: because\n\tat w")
    'Z: because'
    """
    last = stacktrace.rsplit("Caused by: ", 1)[-1]
    lines = [line for line in last.splitlines() if not line.startswith("\tat ")]
    return "\n".join(lines).strip() or "the job failed"


def _chain(error: BaseException) -> list[BaseException]:
    """From what was raised to what caused it, as far as the classes tell more than the last.

    Beam re-raises as the class it was, or as a RuntimeError that holds the text of the cause.
    """
    chain = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None:
        if type(chain[-1]) is not RuntimeError and not _STEP.search(str(chain[-1])):
            break
        chain.append(cause)
    return chain


def _last_raised(text: str) -> str:
    """What a worker process raised: it sends its traceback, as text."""
    if _TRACEBACK not in text:
        return text
    lines = text.rstrip().rsplit(_TRACEBACK, 1)[1].lstrip("\n").splitlines()
    is_frame = [line.startswith("  ") for line in lines]
    first = len(lines) - is_frame[::-1].index(True) if True in is_frame else 0
    return "\n".join(lines[first:])


def _named(error: BaseException, text: str) -> tuple[str, str]:
    """The class and the message; a RuntimeError of Beam's may only quote both."""
    name = type(error).__name__
    while name == "RuntimeError" and (quoted := _CLASS.fullmatch(text)):
        name, text = quoted["name"], quoted["message"]
    return name, text


def _advice(message: str, number: int | None) -> str:
    quoted = _NUMBER.search(message)
    advice = _ADVICE.get(int(quoted[1]) if quoted else number or 0)
    return f"\n{advice}" if advice else ""
