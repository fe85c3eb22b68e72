"""What it means that a model was made by another version of its library than is installed."""

import re

from .artifact import Artifact
from .errors import ModelError


def version_notes(
    artifact: Artifact, library: str, made: str | None, installed: str, package: str | None = None
) -> tuple[str, ...]:
    """Compares the version that made a file with the one that will run it.

    Args:
        artifact: the file, for the error.
        library: the library's name as a person writes it.
        made: the version that the file says it was made by; None if it does not say.
        installed: the version that is installed.
        package: what to install, where it is not the library's name in lower case.

    Returns:
        A note if the file was made by an older minor version; nothing if by the same.

    Raises:
        ModelError: by a newer one, whose models the installed one may misread.
    """
    if made is None or _minor(made) == _minor(installed):
        return ()
    if _minor(made) > _minor(installed):
        raise ModelError(
            f"model {artifact.uri} was made by {library} {made}, which is newer than the "
            f"installed {installed}. Install it: pip install '{package or library.lower()}=={made}'"
        )
    return (f"made by {library} {made}, run by {installed}: predictions may differ",)


def _minor(version: str) -> tuple[int, ...]:
    """The first two numbers of a version; nothing of what is no version."""
    found = re.match(r"(\d+)\.(\d+)", version)
    return tuple(map(int, found.groups())) if found else ()
