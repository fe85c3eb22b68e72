"""Holds the documents against the code: verbs, flags, job-file keys, links, the list of files."""

import argparse
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scoreline.pipelines.beam_flags import BEAM_FLAGS
from scoreline.pipelines.cli import main
from scoreline.pipelines.errors import ExitCode
from scoreline.pipelines.flags import (
    check_parser,
    completion_parser,
    model_parser,
    run_parser,
    schema_parser,
    score_parser,
)
from scoreline.pipelines.job import Job, make_job
from scoreline.pipelines.job_file import read_job_values
from scoreline.pipelines.template_flags import TEMPLATE_PARSERS

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
DOCUMENTS += sorted((ROOT / "docs").glob("*.md"))
COMMAND_LINE = ROOT / "docs" / "command-line.md"
JOB_FILE = ROOT / "docs" / "job-file.md"
FORMATS = ROOT / "docs" / "formats.md"
STREAMING = ROOT / "docs" / "streaming.md"
ARCHITECTURE = ROOT / "docs" / "architecture.md"

PARSERS = {
    "score": score_parser(),
    "run": run_parser(),
    "check": check_parser(),
    "schema": schema_parser(),
    "model": model_parser(),
    **{f"template {action}": parser() for action, parser in TEMPLATE_PARSERS.items()},
    "completion": completion_parser(),
}

_VERB_HEADING = re.compile(r"^## `([\w ]+)`$", re.MULTILINE)
_FLAG_ROW = re.compile(r"^\| `(--[a-z0-9-]+)(?: ([^`]+))?` \| (.+) \| (.+) \|$", re.MULTILINE)
_KEY_ROW = re.compile(r"^\| `([\w.]+)` \| ([^|]+) \| ([^|]+) \| [^|]+ \|$", re.MULTILINE)
_DEFAULT_IN_HELP = re.compile(r"\(default: (.+)\)$")
_LINK = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")
_COMMAND = re.compile(r"scoreline ((?:template )?\w+)((?:.*\\\n)*.*)")
_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def flag_actions(verb: str) -> dict[str, argparse.Action]:
    actions = [action for action in PARSERS[verb]._actions if action.dest != "help"]
    return {action.option_strings[0]: action for action in actions if action.option_strings}


def documented_flags(verb: str) -> dict[str, tuple[str | None, str]]:
    """{flag: (metavar, default)} as the tables of a verb's section of command-line.md say."""
    rows = _FLAG_ROW.findall(section(verb))
    assert len(rows) == len({row[0] for row in rows}), "a flag is documented twice"
    return {flag: (metavar or None, default.strip("`")) for flag, metavar, _, default in rows}


def section(verb: str) -> str:
    """What stands below the heading of a verb, up to the next heading of its level."""
    _, found, after = COMMAND_LINE.read_text().partition(f"\n## `{verb}`\n")
    assert found, f"command-line.md has no heading ## `{verb}`"
    return after.split("\n## ", 1)[0]


def default_of(action: argparse.Action) -> str:
    """A flag's default in the words of the documentation."""
    if action.required:
        return "required"
    if action.nargs == 0:
        return "off"
    if isinstance(action.default, tuple):
        return ",".join(action.default) or "none"
    if action.default:
        return str(action.default)
    said = _DEFAULT_IN_HELP.search(action.help or "")
    return said[1] if said else "none"


def metavar_of(action: argparse.Action) -> str | None:
    """What stands for a flag's value in the documentation."""
    if action.metavar:
        return str(action.metavar)
    return "FORMAT" if action.choices else None


FLAGS = [(verb, flag) for verb in PARSERS for flag in flag_actions(verb)]


def test_every_verb_is_documented_in_the_order_of_the_help(capsys: pytest.CaptureFixture) -> None:
    assert _VERB_HEADING.findall(COMMAND_LINE.read_text()) == list(PARSERS)
    assert main(["nonsense"]) == ExitCode.USAGE
    verbs = dict.fromkeys(name.split()[0] for name in PARSERS)
    assert ", ".join(verbs) in capsys.readouterr().err


@pytest.mark.parametrize("verb", PARSERS)
def test_every_flag_is_documented_and_every_documented_flag_exists(verb: str) -> None:
    documented, flags = list(documented_flags(verb)), list(flag_actions(verb))
    assert set(flags) - set(documented) == set(), "command-line.md lacks these flags"
    assert set(documented) - set(flags) == set(), "command-line.md has flags that do not exist"
    assert documented == flags, "list them in the order of --help"


@pytest.mark.parametrize(("verb", "flag"), FLAGS)
def test_a_flag_is_documented_with_its_value_and_default(verb: str, flag: str) -> None:
    action = flag_actions(verb)[flag]
    assert documented_flags(verb)[flag] == (metavar_of(action), default_of(action))


@pytest.mark.parametrize(("verb", "flag"), FLAGS)
def test_the_default_in_the_help_is_the_default(verb: str, flag: str) -> None:
    action = flag_actions(verb)[flag]
    said = _DEFAULT_IN_HELP.search(action.help or "")
    if said and action.default is not None:
        assert said[1] == default_of(action)


@pytest.mark.parametrize("verb", PARSERS)
def test_a_word_that_is_no_flag_stands_in_the_synopsis(verb: str) -> None:
    (synopsis,) = re.findall(
        rf"^scoreline {verb}\b.*$", COMMAND_LINE.read_text().split("##")[0], re.M
    )
    for action in PARSERS[verb]._actions:
        if not action.option_strings:
            assert (action.metavar or "|".join(action.choices or ())) in synopsis


@pytest.mark.parametrize("document", [COMMAND_LINE, ROOT / "README.md"], ids=lambda path: path.name)
def test_exit_codes_are_documented(document: Path) -> None:
    rows = re.findall(r"^\| (\d[\d, ]*) \|", document.read_text(), re.MULTILINE)
    codes = [int(code) for row in rows for code in row.split(",")]
    assert codes == [int(code) for code in ExitCode]


Keys = dict[tuple[str, str], tuple[str, str]]


def job_keys() -> Keys:
    """{(heading, key): (type, default)} of every value that a job file can hold, by its schema."""
    schema = Job.model_json_schema()
    return dict(_keys(schema, schema["$defs"], "The job", ""))


def _keys(
    part: dict[str, Any], definitions: dict[str, Any], heading: str, path: str
) -> Iterator[tuple[tuple[str, str], tuple[str, str]]]:
    for name, field in part["properties"].items():
        key = f"{path}{name}"
        of_columns = isinstance(field.get("additionalProperties"), dict) and (
            "$ref" in field["additionalProperties"]
        )
        inner = field["additionalProperties"] if of_columns else field.get("items", field)
        kinds = [
            each["$ref"].rsplit("/", 1)[1] for each in inner.get("oneOf", [inner]) if "$ref" in each
        ]
        if not kinds:
            is_needed = name in part.get("required", ())
            yield (heading, key), (_type(field), "required" if is_needed else _default(field))
        below = f"{key}.N." if "items" in field else f"{key}."
        below = f"{key}.COLUMN." if of_columns else below
        for kind in map(definitions.__getitem__, kinds):
            inside = key if heading == "The job" else heading
            if len(kinds) > 1:
                inside = f"{key} of type {kind['properties']['type']['const']}"
            yield from _keys(kind, definitions, inside, below)


def documented_keys() -> Keys:
    """{(heading, key): (type, default)} as the tables of job-file.md say."""
    sections = re.split(r"^### (.+)$", JOB_FILE.read_text(), flags=re.MULTILINE)
    rows = [
        ((heading, key), (type_, default))
        for heading, text in zip(sections[1::2], sections[2::2], strict=True)
        for key, type_, default in _KEY_ROW.findall(text)
    ]
    assert len(rows) == len(dict(rows)), "a key is documented twice"
    return dict(rows)


def _type(field: dict[str, Any]) -> str:
    """A type in the words of the documentation."""
    kinds = [kind for kind in field.get("anyOf", [field]) if kind.get("type") != "null"]
    lists = [kind for kind in kinds if kind.get("type") == "array"]
    kind = (lists or kinds)[0]  # one text may stand for a list of one: said once, above the table
    if "const" in kind:
        return f"`{kind['const']}`"
    if "enum" in kind:
        return ", ".join(f"`{value}`" for value in kind["enum"])
    limits = {name: kind[name] for name in _LIMITS if name in kind}
    name = {
        "string": "text",
        "integer": "whole number",
        "number": "number",
        "boolean": "true or false",
        "array": "list of text or numbers" if "anyOf" in kind.get("items", ()) else "list of text",
        "object": "mapping of text to text",
    }[kind["type"]]
    if kind.get("minLength") == kind.get("maxLength") == 1:
        name = "one character"
    words = "".join(f" {word} {limits[key]:g}" for key, word in _LIMITS.items() if key in limits)
    return name + words


_LIMITS = {"exclusiveMinimum": "above", "minimum": "from", "maximum": "to"}


def _default(field: dict[str, Any]) -> str:
    value = field.get("default")
    if value is None or value == []:
        return "none"
    if isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, list):
        return ", ".join(f"`{item or json.dumps(item)}`" for item in value)
    return (
        f"{value:g}"
        if isinstance(value, float)
        else f"`{value}`"
        if isinstance(value, str)
        else str(value)
    )


def test_every_key_of_a_job_is_documented_and_every_documented_key_exists() -> None:
    documented, keys = documented_keys(), job_keys()
    assert set(keys) - set(documented) == set(), "job-file.md lacks these keys"
    assert set(documented) - set(keys) == set(), "job-file.md has keys that do not exist"
    for heading in {heading for heading, _ in keys}:
        listed = [key for key in documented if key[0] == heading]
        assert listed == [key for key in keys if key[0] == heading], "list them as the schema does"


@pytest.mark.parametrize(("heading", "key"), job_keys())
def test_a_key_is_documented_with_its_type_and_default(heading: str, key: str) -> None:
    assert documented_keys()[heading, key] == job_keys()[heading, key]


def test_job_files_in_documents_are_valid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUCKET", "gs://bucket")
    found = 0
    for document in DOCUMENTS:
        for text in re.findall(r"^```yaml\n(.*?)^```$", document.read_text(), re.M | re.S):
            path = tmp_path / "job.yaml"
            path.write_text(text)
            make_job(read_job_values(str(path)).values)
            found += 1
    assert found


def test_the_codes_of_malformed_records_are_those_of_the_decoders() -> None:
    listed = set(re.findall(r"^\| `decode/(\w+)` \|", FORMATS.read_text(), re.MULTILINE))
    decoders = [*(ROOT / "transforms" / "formats").glob("*.py"), ROOT / "transforms/text_files.py"]
    source = "\n".join(path.read_text() for path in decoders)
    made = set(re.findall(r'\b(?:_?Fault|Reject|reject)\(\s*(?:[^",]+,\s*)?"([a-z0-9_]+)"', source))
    made |= set(re.findall(r'"([a-z0-9_]+)" if .* else "[a-z0-9_]+"$', source, re.M))
    assert listed == made


def test_the_runbook_knows_every_line_of_the_log() -> None:
    runbook = STREAMING.read_text() + (ROOT / "docs" / "bigquery.md").read_text()
    modules = [*(ROOT / "transforms").glob("*.py"), *(ROOT / "pipelines").glob("*.py")]
    source = "\n".join(path.read_text() for path in modules)
    lines = re.findall(r'_LOGGER\.\w+\(\s*"([^"]+)"', source)
    assert len(lines) > 5
    for line in lines:
        for words in filter(None, (part.strip(" :,.") for part in re.split(r"%[\d.]*\w", line))):
            assert words in runbook, f"streaming.md does not explain {line!r}"


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
    listed = re.findall(r"^\| `([\w/]+\.py)` \|", ARCHITECTURE.read_text(), re.MULTILINE)
    folders = ("models", "transforms", "transforms/bigquery", "transforms/formats", "pipelines")
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
    beam = {"--" + flag.lstrip("-") for flag in BEAM_FLAGS}
    for document in DOCUMENTS:
        fences = re.findall(r"^```(\w*)\n(.*?)^```$", document.read_text(), re.M | re.S)
        blocks = [text for language, text in fences if not language]
        for verb, command in re.findall(_COMMAND, "\n".join(blocks)):
            flags = {*flag_actions(verb), "--help", "--version"} | beam
            used = set(re.findall(r"(?<!\S)--[a-z0-9_-]+", command))
            assert used <= flags, f"{document.name}: {sorted(used - flags)} are no flags of {verb}"
