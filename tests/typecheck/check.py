"""Type-checks `scoreline.*`, then shows that the check can fail. `make types` runs it.

A folder X is imported as scoreline.X by a finder that no type checker follows, so the checkout is
linked into a tree in which the names and the folders agree. Folders are linked, not files: what is
added to them is seen. The canary is the proof that nothing of scoreline has become Any.
"""

import re
import shutil
import sys
from pathlib import Path

from mypy import api

ROOT = Path(__file__).resolve().parents[2]
TREE = ROOT / ".typing" / "scoreline"
CANARY = Path(__file__).with_name("canary.py")


def main() -> int:
    """Gives the exit status: 0 if the code is clean and the canary is refused."""
    link_checkout()
    report, errors = _mypy("--package", "scoreline")
    print(_real_paths(report), end="")
    missed = expected(CANARY) - found(_mypy(str(CANARY))[0], CANARY)
    for line, code in sorted(missed):
        print(f"{CANARY.relative_to(ROOT)}:{line}: mypy must report [{code}] here, and does not")
    return 1 if errors or missed else 0


def link_checkout() -> None:
    """Links package/ and each folder that is a layer under the names that they are imported by."""
    shutil.rmtree(TREE, ignore_errors=True)
    TREE.mkdir(parents=True)
    for file in (ROOT / "package").iterdir():
        if file.is_file():
            (TREE / file.name).symlink_to(file)
    for init in ROOT.glob("*/__init__.py"):
        if init.parent.name != "package":
            (TREE / init.parent.name).symlink_to(init.parent)


def expected(file: Path) -> set[tuple[int, str]]:
    """The errors that a file asks for: `# refused: code` at the end of the line."""
    lines = enumerate(file.read_text().splitlines(), start=1)
    marked = ((number, re.search(r"# refused: ([a-z-]+)$", line)) for number, line in lines)
    return {(number, mark[1]) for number, mark in marked if mark}


def found(output: str, file: Path) -> set[tuple[int, str]]:
    """The errors that mypy reported for a file."""
    errors = re.findall(rf"{file.name}:(\d+): error: .*\[([a-z-]+)\]$", output, re.MULTILINE)
    return {(int(line), code) for line, code in errors}


def _mypy(*targets: str) -> tuple[str, int]:
    config = ("--config-file", str(ROOT / "pyproject.toml"))
    cache = ("--cache-dir", str(ROOT / ".mypy_cache"))
    out, err, status = api.run([*config, *cache, "--no-pretty", *targets])
    return out + err, status


def _real_paths(output: str) -> str:
    links = re.compile(r"^\S*\.typing/scoreline/(?=(\w+)/)?", re.MULTILINE)
    return links.sub(lambda match: "" if match[1] else "package/", output)


if __name__ == "__main__":
    sys.exit(main())
