"""Sorts a command line into our flags, Beam's flags and positionals.

argparse alone cannot: it lets unknown flags pass in silence, cannot tell the value of one of them
from a positional, takes `--x=true` for no boolean and `-1` for no value. Everything here works on
tables of names, so neither Beam nor anything else that is slow to import is needed.
"""

import argparse
import difflib
import re
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from scoreline.pipelines.beam_flags import BEAM_FLAGS, FLINK_FLAGS, Arity
from scoreline.pipelines.errors import UsageError

_NEGATIVE_NUMBER = re.compile(r"-\.?\d")

# The part of a name that has to agree before we suggest it. difflib's own default, at which
# --ouput finds --output and --xyzzy finds nothing.
_MIN_LIKENESS = 0.6

# Ours are what people type by hand; Beam's mostly come from a script that worked before.
_HEAD_START_OF_OURS = 0.1

_ARITIES: tuple[tuple[type[argparse.Action], Arity], ...] = (
    (argparse._StoreAction, Arity.VALUE),
    (argparse._AppendAction, Arity.VALUES),
    (argparse._StoreTrueAction, Arity.STORE_TRUE),
    (argparse._StoreFalseAction, Arity.STORE_FALSE),
    (argparse._HelpAction, Arity.STORE_TRUE),
    (argparse._VersionAction, Arity.STORE_TRUE),
)


@dataclass(frozen=True)
class Arguments:
    """A command line, sorted. Within each list the order is the user's.

    Attributes:
        ours: our flags in the spelling of our parser, every value joined as `--flag=value`, so
            that argparse takes any value, a negative number or `--` included.
        beam: Beam's and Flink's flags, likewise, as PipelineOptions wants them.
        positionals: everything else; hand it to argparse behind a `--`.
    """

    ours: list[str]
    beam: list[str]
    positionals: list[str]


@dataclass(frozen=True)
class _Flag:
    spelling: str  # as its own parser knows it
    arity: Arity
    is_ours: bool


@dataclass(frozen=True)
class _Given:
    """A flag as the user gave it; the value of a boolean is "true" or "false"."""

    flag: _Flag
    value: str


def split_arguments(argv: Sequence[str], ours: Mapping[str, Arity]) -> Arguments:
    """Turns a command line into our flags, Beam's flags and positionals.

    Flags may stand anywhere and are written with `-` or `_` in their names, as `--x v` or
    `--x=v`; a boolean as `--x`, `--x=true` or `--x=false`, where the last one counts. Names are
    never abbreviated, and a name that we and Beam share is ours. `--` ends the flags.

    Args:
        argv: the words behind the verb.
        ours: our own flags as our parser spells them, from `arities`.

    Raises:
        UsageError: a flag nobody knows, without its value, with a value that is no boolean, or
            one of ours given twice that takes a single value.
    """
    flags = _known_flags(ours)
    given: list[_Given] = []
    positionals: list[str] = []
    words = deque(argv)
    while words:
        word = words.popleft()
        if word == "--":
            positionals.extend(words)
            break
        if _is_flag(word):
            given.append(_read_flag(word, words, flags))
        else:
            positionals.append(word)
    _refuse_repeated(given)
    kept = _last_of_booleans(given)
    return Arguments(
        ours=_tokens(one for one in kept if one.flag.is_ours),
        beam=_beam_tokens([one for one in kept if not one.flag.is_ours]),
        positionals=positionals,
    )


def arities(parser: argparse.ArgumentParser) -> dict[str, Arity]:
    """Turns the flags of an argparse parser into the table that `split_arguments` takes.

    Raises:
        ValueError: an action that the rules of our command line have no form for. It is the
            programmer's mistake, not the user's.
    """
    table: dict[str, Arity] = {}
    for action in parser._actions:
        if not action.option_strings:
            continue
        arity = _arity(action)
        if arity is Arity.VALUE and len(action.option_strings) > 1:
            names = " and ".join(action.option_strings)
            raise ValueError(f"{names} are one flag; given both, neither would be noticed as twice")
        table.update(dict.fromkeys(action.option_strings, arity))
    return table


def _arity(action: argparse.Action) -> Arity:
    for kind, arity in _ARITIES:
        if isinstance(action, kind) and action.nargs in (None, 0):
            return arity
    raise ValueError(
        f"{action.option_strings[0]}: expected a store, append, store_true or store_false action "
        f"without nargs, got {type(action).__name__} with nargs={action.nargs!r}"
    )


def _known_flags(ours: Mapping[str, Arity]) -> dict[str, _Flag]:
    """Turns all tables into one, keyed by the spelling with underscores; ours win."""
    theirs = {**FLINK_FLAGS, **BEAM_FLAGS}
    flags = {name: _Flag(name, arity, is_ours=False) for name, arity in theirs.items()}
    return flags | {_key(name): _Flag(name, arity, is_ours=True) for name, arity in ours.items()}


def _key(name: str) -> str:
    """Turns the hyphens inside a name into underscores: `--print-job` into `--print_job`."""
    bare = name.lstrip("-")
    return name[: len(name) - len(bare)] + bare.replace("-", "_")


def _is_flag(word: str) -> bool:
    return word.startswith("-") and word != "-" and not _NEGATIVE_NUMBER.match(word)


def _read_flag(word: str, words: deque[str], flags: Mapping[str, _Flag]) -> _Given:
    """Turns a word, and the next one where that is its value, into a known flag."""
    name, equals, value = word.partition("=")
    flag = flags.get(_key(name))
    if flag is None:
        raise UsageError(_unknown(name, flags))
    if flag.arity.takes_value:
        return _Given(flag, value if equals else _next_value(name, words))
    return _Given(flag, _boolean(name, value if equals else None, flag.arity, words))


def _next_value(name: str, words: deque[str]) -> str:
    """Takes the value of a flag off the words that follow it."""
    if not words:
        raise UsageError(f"{name} needs a value, and nothing follows it. Write {name}=VALUE.")
    if words[0].startswith("--"):
        raise UsageError(f"{name} needs a value, and {words[0]!r} follows it. Write {name}=VALUE.")
    if _is_flag(words[0]):
        raise UsageError(
            f"{name} needs a value, and {words[0]!r} looks like a flag. "
            f"If it is the value, write {name}={words[0]}."
        )
    return words.popleft()


def _boolean(name: str, value: str | None, arity: Arity, words: deque[str]) -> str:
    """Turns what follows the `=` of a boolean flag, None without one, into "true" or "false"."""
    if value is not None:
        if value.lower() not in ("true", "false"):
            raise UsageError(
                f"{name} is a boolean: expected {name}, {name}=true or {name}=false, "
                f"got {name}={value}"
            )
        return value.lower()
    if arity is Arity.ON_BY_DEFAULT:
        raise UsageError(
            f"{name} is on by default. Write {name}=false to switch it off, or leave it out."
        )
    if words and words[0].lower() in ("true", "false"):
        raise UsageError(f"{name} is a boolean and takes its value with a '=': {name}={words[0]}")
    return "true"


def _unknown(name: str, flags: Mapping[str, _Flag]) -> str:
    """Says that nobody knows a flag, and which one is nearest, with a head start for ours."""
    matcher = difflib.SequenceMatcher(b=_key(name).strip("-"))
    best, best_likeness = None, 0.0
    for key, flag in flags.items():
        matcher.set_seq1(key.strip("-"))
        likeness = matcher.ratio()
        if likeness < _MIN_LIKENESS:
            continue
        likeness += _HEAD_START_OF_OURS if flag.is_ours else 0.0
        if likeness > best_likeness:
            best, best_likeness = flag, likeness
    if best is None:
        return f"unknown flag {name}: neither scoreline nor Beam nor Flink has one like it."
    return f"unknown flag {name}. Did you mean {best.spelling}?"


def _refuse_repeated(given: Iterable[_Given]) -> None:
    """Checks that no single-valued flag of ours was given twice; Beam lets its last one win."""
    first: dict[_Flag, str] = {}
    for one in given:
        if not one.flag.is_ours or one.flag.arity is not Arity.VALUE:
            continue
        if one.flag in first:
            raise UsageError(
                f"{one.flag.spelling} was given twice: {first[one.flag]!r} and {one.value!r}"
            )
        first[one.flag] = one.value


def _last_of_booleans(given: Iterable[_Given]) -> list[_Given]:
    """Turns flags as given into flags of which each boolean is there once: its last."""
    kept: list[_Given] = []
    for one in given:
        if not one.flag.arity.takes_value:
            kept = [other for other in kept if other.flag != one.flag]
        kept.append(one)
    return kept


def _tokens(given: Iterable[_Given]) -> list[str]:
    """Turns flags into words for argparse, where a boolean that is false is no word at all."""
    tokens = []
    for flag, value in ((one.flag, one.value) for one in given):
        if flag.arity.takes_value:
            tokens.append(f"{flag.spelling}={value}")
        elif value == "true":
            tokens.append(flag.spelling)
    return tokens


def _beam_tokens(given: Sequence[_Given]) -> list[str]:
    """Turns Beam's and Flink's flags into words for PipelineOptions.

    A boolean of Flink's that is on by default has two spellings. Beam's job server describes it
    to Python as a store_false flag: there the bare `--operator_chaining` switches it *off*.
    Without a job server (an uber jar sent to a cluster) Python knows no description, passes the
    flag on as it stands, and the bare one would switch it on.
    """
    suffix = "=false" if _bypasses_job_server(given) else ""
    tokens = []
    for one in given:
        if one.flag.arity is not Arity.ON_BY_DEFAULT:
            tokens.extend(_tokens([one]))
        elif one.value == "false":
            tokens.append(one.flag.spelling + suffix)
    return tokens


def _bypasses_job_server(given: Iterable[_Given]) -> bool:
    """Says whether FlinkRunner will send an uber jar to a cluster, by that runner's own rule."""
    last = {one.flag.spelling: one.value for one in given}
    is_cluster = last.get("--flink_master", "[auto]").strip() not in ("[auto]", "[local]")
    return is_cluster and last.get("--flink_submit_uber_jar") == "true"
