"""What a person who mistyped a name may have meant."""

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

_SHOWN = 5


def near_name(name: str, names: Iterable[str]) -> str:
    """The rest of a sentence that says that there is no such name.

    >>> near_name("predict_prob", ["predict", "predict_proba"])
    '; did you mean predict_proba?'
    """
    by_folded_name = {known.casefold(): known for known in names}
    near = get_close_matches(name.casefold(), by_folded_name, n=1)
    return f"; did you mean {by_folded_name[near[0]]}?" if near else ""


def near_file(path: str) -> str:
    """The rest of a sentence that says that a local path or glob names no file."""
    from scoreline.transforms.storage import is_local  # imports Beam: not for a usage error

    if not is_local(path):
        return ". Check its spelling, and that you may read it."
    folder = Path(path).parent
    if not folder.is_dir():
        return f": there is no folder {folder}"
    if Path(path).is_dir():
        folder = Path(path)
    names = sorted(found.name for found in folder.iterdir() if not found.name.startswith("."))
    near = get_close_matches(Path(path).name, names, n=1)
    if near and folder != Path(path):
        return f"; did you mean {folder / near[0]}?"
    more = ", ..." if names[_SHOWN:] else ""
    return f": {folder} holds {', '.join(names[:_SHOWN]) or 'nothing'}{more}"
