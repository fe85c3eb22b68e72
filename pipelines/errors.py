"""Exit codes: what the command line tells the shell about a run."""

from enum import IntEnum


class ExitCode(IntEnum):
    """What the process ends with; a script may branch on these, so they never change meaning."""

    FINISHED = 0  # inside all limits; a drained stream too
    FAILED = 1  # the run failed
    USAGE = 2  # usage, configuration, or an input that does not satisfy the job: nothing started
    LIMIT_BROKEN = 3  # finished and the outputs are there, but a limit was broken
    MODEL_UNFIT = 4  # the model by itself: unreadable, refused by trust, another hash
    INTERRUPTED = 130  # SIGINT in batch, or a second signal in a stream
    TERMINATED = 143  # SIGTERM in batch


class UsageError(Exception):
    """What the user asked for cannot be started; the message says what to change."""

    exit_code = ExitCode.USAGE


class NoAnswerError(Exception):
    """A service that the run needs did not answer for a while; nothing was started.

    It is nobody's mistake: the same command may work later, so a supervisor is to start it again.
    """

    exit_code = ExitCode.FAILED
