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

SHELLS = ("bash", "zsh", "fish")

_BASH = """\
_scoreline() {{
  local word=${{COMP_WORDS[COMP_CWORD]}} verb=${{COMP_WORDS[1]}} words=""
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
        "completion": completion_parser(),
    }


def _flags(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    return [action for action in parser._actions if action.option_strings]


def _choices() -> dict[str, str]:
    """The words that may follow a flag, or a verb that takes one of some words."""
    choices: dict[str, str] = {}
    for verb, parser in _parsers().items():
        for action in parser._actions:
            if action.choices:
                before = action.option_strings[-1] if action.option_strings else verb
                choices[before] = " ".join(action.choices)
    return choices


def _bash() -> str:
    flags = {
        verb: " ".join(action.option_strings[-1] for action in _flags(parser))
        for verb, parser in _parsers().items()
    }
    return _BASH.format(
        verbs=" ".join(flags),
        choices="\n".join(
            f'      {word}) words="{after}" ;;' for word, after in _choices().items()
        ),
        flags="\n".join(f'          {verb}) words="{words}" ;;' for verb, words in flags.items()),
    )


def _fish() -> str:
    lines, choices = [], _choices()
    for verb, parser in _parsers().items():
        description = _quoted(parser.description or verb)
        lines.append(f"complete -c scoreline -n __fish_use_subcommand -a {verb} -d {description}")
        seen = f"complete -c scoreline -n '__fish_seen_subcommand_from {verb}'"
        if verb in choices:
            lines.append(f"{seen} -f -a '{choices[verb]}'")
        for action in _flags(parser):
            flag = action.option_strings[-1]
            value = "" if action.nargs == 0 else "-r "
            value += f"-f -a '{choices[flag]}' " if flag in choices else ""
            help_ = _quoted(action.help or "")
            lines.append(f"{seen} -l {flag.lstrip('-')} {value}-d {help_}")
    return "\n".join(lines)


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
