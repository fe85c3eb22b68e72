"""Holds the documents against the code: flags, links, the list of files."""

import argparse
import re
from pathlib import Path

import pytest

from scoreline.pipelines.errors import ExitCode
from scoreline.pipelines.flags import score_parser

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
DOCUMENTS += sorted((ROOT / "docs").glob("*.md"))
COMMAND_LINE = ROOT / "docs" / "command-line.md"
ARCHITECTURE = ROOT / "docs" / "architecture.md"

_FLAG_ROW = re.compile(r"^\| `(--[a-z0-9-]+)(?: ([^`]+))?` \| (.+) \| (.+) \|$", re.MULTILINE)
_DEFAULT_IN_HELP = re.compile(r"\(default: (.+)\)$")
_LINK = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def flag_actions() -> dict[str, argparse.Action]:
    actions = [action for action in score_parser()._actions if action.dest != "help"]
    return {action.option_strings[0]: action for action in actions}


def documented_flags() -> dict[str, tuple[str | None, str]]:
    """{flag: (metavar, default)} as the tables of command-line.md say."""
    rows = _FLAG_ROW.findall(COMMAND_LINE.read_text())
    assert len(rows) == len({row[0] for row in rows}), "a flag is documented twice"
    return {flag: (metavar or None, default) for flag, metavar, _, default in rows}


def default_of(action: argparse.Action) -> str:
    """A flag's default in the words of the documentation."""
    if action.required:
        return "required"
    if action.nargs == 0:
        return "off"
    if isinstance(action.default, tuple):
        return ",".join(action.default) or "none"
    if action.default is not None:
        return str(action.default)
    said = _DEFAULT_IN_HELP.search(action.help or "")
    return said[1] if said else "none"


def test_every_flag_is_documented_and_every_documented_flag_exists() -> None:
    documented, flags = list(documented_flags()), list(flag_actions())
    assert set(flags) - set(documented) == set(), "command-line.md lacks these flags"
    assert set(documented) - set(flags) == set(), "command-line.md has flags that do not exist"
    assert documented == flags, "list them in the order of --help"


@pytest.mark.parametrize("flag", flag_actions())
def test_a_flag_is_documented_with_its_value_and_default(flag: str) -> None:
    action = flag_actions()[flag]
    assert documented_flags()[flag] == (action.metavar, default_of(action))


@pytest.mark.parametrize("flag", flag_actions())
def test_the_default_in_the_help_is_the_default(flag: str) -> None:
    action = flag_actions()[flag]
    said = _DEFAULT_IN_HELP.search(action.help or "")
    if said and action.default is not None:
        assert said[1] == default_of(action)


@pytest.mark.parametrize("document", [COMMAND_LINE, ROOT / "README.md"], ids=lambda path: path.name)
def test_exit_codes_are_documented(document: Path) -> None:
    rows = re.findall(r"^\| (\d[\d, ]*) \|", document.read_text(), re.MULTILINE)
    codes = [int(code) for row in rows for code in row.split(",")]
    assert codes == [int(code) for code in ExitCode]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_relative_links_resolve(document: Path) -> None:
    for target in _LINK.findall(_FENCE.sub("", document.read_text())):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = document.parent / path if path else document
        assert file.exists(), f"{document.name} links to {target}, which does not exist"
        if anchor:
            assert anchor in anchors(file), f"{document.name}: {path} has no heading #{anchor}"


def anchors(document: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", _FENCE.sub("", document.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}


def test_the_file_list_names_every_module_once_and_no_other() -> None:
    listed = re.findall(r"^\| `(\w+/\w+\.py)` \|", ARCHITECTURE.read_text(), re.MULTILINE)
    folders = ("models", "transforms", "pipelines")
    present = [
        f"{folder}/{path.name}"
        for folder in folders
        for path in sorted((ROOT / folder).glob("*.py"))
        if not path.name.startswith("_")
    ]
    missing, superfluous = sorted(set(present) - set(listed)), sorted(set(listed) - set(present))
    assert not missing, f"architecture.md lacks a line for {missing}"
    assert not superfluous, f"architecture.md lists {superfluous}, which do not exist"
    assert listed == present, "list them in the order of the folder, each once"


def test_python_examples_compile() -> None:
    for document in DOCUMENTS:
        for code in re.findall(r"^```python\n(.*?)^```$", document.read_text(), re.M | re.S):
            compile(code, document.name, "exec")


def test_commands_in_the_documents_use_flags_that_exist() -> None:
    flags = {*flag_actions(), "--help", "--version"}
    for document in DOCUMENTS:
        blocks = re.findall(r"^```\n(.*?)^```$", document.read_text(), re.M | re.S)
        for command in re.findall(r"scoreline score((?:.*\\\n)*.*)", "\n".join(blocks)):
            used = set(re.findall(r"(?<!\S)--[a-z0-9-]+", command))
            assert used <= flags, f"{document.name}: {sorted(used - flags)} are no flags of score"
