"""What tests start besides Python: made once, and kept outside the checkout.

Each part lies in the user's cache under a name with its version, so that a new version is made
beside the old one. It is made in a folder of its own and renamed, by one process at a time: a part
that is there is whole.
"""

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_MAKE_SECS = 1_800.0  # Maven and Go take 3 minutes each, the first time, on two cores
_ADVICE = {
    "java": "install a Java runtime, version 17, such as the package openjdk-17-jre",
    "mvn": "install Maven, such as the package maven",
    "go": "install Go: https://go.dev/doc/install",
}


@dataclass(frozen=True)
class Part:
    """One file or folder of the cache.

    Attributes:
        title: what a person calls it.
        name: in the cache.
        programs: which it takes to make it, or to run it.
        make: makes it at a path that does not exist yet.
        command: what a person runs to have it made.
    """

    title: str
    name: str
    programs: tuple[str, ...]
    make: Callable[[Path], None]
    command: str

    @property
    def path(self) -> Path:
        """Where it is, or will be."""
        return cache() / self.name

    def missing(self) -> str | None:
        """What keeps it from being used now; None if nothing does."""
        absent = [program for program in self.programs if shutil.which(program) is None]
        if not self.path.exists():
            advice = [*(_ADVICE[program] for program in absent), f"run {self.command}"]
            return f"no {self.title} here: {'; then '.join(advice)}"
        if "java" in absent:
            return f"{self.title} needs Java: {_ADVICE['java']}"
        return None


def cache() -> Path:
    """The folder of the parts: in the user's cache, never in the checkout."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return root / "scoreline"


def ensure(part: Part) -> Path:
    """Gives the path of a part, which is made if it is not there.

    Raises:
        RuntimeError: it could not be made.
    """
    if part.path.exists():
        return part.path
    cache().mkdir(parents=True, exist_ok=True)
    with _alone(part), tempfile.TemporaryDirectory(dir=cache(), prefix=".making-") as folder:
        if not part.path.exists():  # another process may have made it meanwhile
            print(f"making {part.path} (once, a few minutes)", file=sys.stderr, flush=True)
            made = Path(folder) / part.name
            part.make(made)
            made.rename(part.path)
    return part.path


def make_all(parts: Sequence[Part]) -> int:
    """Makes parts, and says where each is; gives 1 if one of them is missing in the end."""
    code = 0
    for part in parts:
        try:
            print(f"{part.title}: {ensure(part)}", flush=True)
        except RuntimeError as error:
            print(f"{part.missing()}\n{error}", file=sys.stderr, flush=True)
            code = 1
    return code


def run(words: Sequence[str], **environment: str) -> str:
    """Runs a program, and gives what it said.

    Raises:
        RuntimeError: it is not there, failed, or took too long.
    """
    try:
        ended = subprocess.run(
            words,
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_MAKE_SECS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RuntimeError(f"{words[0]}: {error}") from error
    if ended.returncode:
        said = ended.stdout[-2_000:]
        raise RuntimeError(f"{' '.join(words)} ended with {ended.returncode}:\n{said}")
    return ended.stdout


@contextmanager
def _alone(part: Part) -> Iterator[None]:
    """Waits until no other process makes a part; the kernel unlocks for one that has died."""
    with (cache() / f".{part.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
