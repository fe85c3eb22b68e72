"""Shell completion for bash, zsh and fish, of our own verbs, flags and their choices."""

import argparse

from .flags import (
    check_parser,
    completion_parser,
    model_parser,
    run_parser,
    schema_parser,
    score_parser,
)
from .template_flags import TEMPLATE_PARSERS

SHELLS = ("bash", "zsh", "fish")
_OUTER = "template"  # the one verb that has verbs of its own

_BASH = """\
_scoreline() {{
  local word=${{COMP_WORDS[COMP_CWORD]}} verb=${{COMP_WORDS[1]}} words=""
  [ "$verb" = {outer} ] && verb="$verb ${{COMP_WORDS[2]}}"
  if [ "$COMP_CWORD" -eq 1 ]; then
    words="{verbs}"
  else
    case ${{COMP_WORDS[COMP_CWORD-1]}} in
{choices}
      *) if [[ $word == -* ]]; then
        case $verb in
{flags}
        esac
      fi ;;
    esac
  fi
  COMPREPLY=($(compgen -W "$words" -- "$word"))
}}
complete -o default -F _scoreline scoreline
"""


def completion_script(shell: str) -> str:
    """The script that a shell sources to complete scoreline's verbs, flags and their choices.

    Files and whatever else is no flag are completed as the shell does by default.
    """
    if shell == "fish":
        return _fish()
    script = _bash()
    return script if shell == "bash" else f"autoload -U +X bashcompinit && bashcompinit\n{script}"


def _parsers() -> dict[str, argparse.ArgumentParser]:
    return {
        "score": score_parser(),
        "run": run_parser(),
        "check": check_parser(),
        "schema": schema_parser(),
        "model": model_parser(),
        **{f"{_OUTER} {action}": parser() for action, parser in TEMPLATE_PARSERS.items()},
        "completion": completion_parser(),
    }


def _flags(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    return [action for action in parser._actions if action.option_strings]


def _choices() -> dict[str, str]:
    """The words that may follow a flag, or a verb that takes one of some words."""
    choices = {_OUTER: " ".join(TEMPLATE_PARSERS)}
    for verb, parser in _parsers().items():
        for action in parser._actions:
            if action.choices:
                before = action.option_strings[-1] if action.option_strings else verb
                choices[before] = " ".join(action.choices)
    return choices


def _verbs() -> dict[str, str]:
    """Each verb, with what it is for."""
    verbs: dict[str, str] = {}
    for name, parser in _parsers().items():
        verbs.setdefault(name.split()[0], parser.description or name)
    return verbs | {_OUTER: "Build, check or start the Dataflow template."}


def _bash() -> str:
    flags = {
        verb: " ".join(action.option_strings[-1] for action in _flags(parser))
        for verb, parser in _parsers().items()
    }
    return _BASH.format(
        outer=_OUTER,
        verbs=" ".join(_verbs()),
        choices="\n".join(
            f'      {word}) words="{after}" ;;' for word, after in _choices().items()
        ),
        flags="\n".join(f'          "{verb}") words="{words}" ;;' for verb, words in flags.items()),
    )


def _fish() -> str:
    lines, choices = [], _choices()
    for verb, description in _verbs().items():
        said = _quoted(description)
        lines.append(f"complete -c scoreline -n __fish_use_subcommand -a {verb} -d {said}")
        if verb in choices:
            lines.append(f"complete -c scoreline -n '{_seen(verb)}' -f -a '{choices[verb]}'")
    for verb, parser in _parsers().items():
        for action in _flags(parser):
            flag = action.option_strings[-1]
            value = "" if action.nargs == 0 else "-r "
            value += f"-f -a '{choices[flag]}' " if flag in choices else ""
            help_ = _quoted(action.help or "")
            start = f"complete -c scoreline -n '{_seen(verb)}'"
            lines.append(f"{start} -l {flag.lstrip('-')} {value}-d {help_}")
    return "\n".join(lines)


def _seen(verb: str) -> str:
    """The condition of fish under which a command line is one of a verb."""
    words = verb.split()
    seen = "; and ".join(f"__fish_seen_subcommand_from {word}" for word in words)
    inner = words[0] in TEMPLATE_PARSERS
    return f"{seen}; and not __fish_seen_subcommand_from {_OUTER}" if inner else seen


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
