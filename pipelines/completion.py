"""Shell completion for bash, zsh and fish, of our own verbs and flags."""

import argparse

from .flags import check_parser, completion_parser, run_parser, schema_parser, score_parser

SHELLS = ("bash", "zsh", "fish")

_BASH = """\
_scoreline() {{
  local word=${{COMP_WORDS[COMP_CWORD]}} verb=${{COMP_WORDS[1]}} words=""
  if [ "$COMP_CWORD" -eq 1 ]; then
    words="{verbs}"
  elif [[ $word == -* ]]; then
    case $verb in
{cases}
    esac
  fi
  COMPREPLY=($(compgen -W "$words" -- "$word"))
}}
complete -o default -F _scoreline scoreline
"""


def completion_script(shell: str) -> str:
    """The script that a shell sources to complete scoreline's verbs and flags.

    Files and whatever else is no flag are completed as the shell does by default.
    """
    flags = {verb: _flags(parser) for verb, parser in _parsers().items()}
    if shell == "fish":
        return _fish()
    cases = "\n".join(f'      {verb}) words="{" ".join(flags[verb])}" ;;' for verb in flags)
    script = _BASH.format(verbs=" ".join(flags), cases=cases)
    if shell == "bash":
        return script
    return f"autoload -U +X bashcompinit && bashcompinit\n{script}"


def _parsers() -> dict[str, argparse.ArgumentParser]:
    return {
        "score": score_parser(),
        "run": run_parser(),
        "check": check_parser(),
        "schema": schema_parser(),
        "completion": completion_parser(),
    }


def _actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    return [action for action in parser._actions if action.option_strings]


def _flags(parser: argparse.ArgumentParser) -> list[str]:
    return [action.option_strings[-1] for action in _actions(parser)]


def _fish() -> str:
    lines = []
    for verb, parser in _parsers().items():
        description = _quoted(parser.description or verb)
        lines.append(f"complete -c scoreline -n __fish_use_subcommand -a {verb} -d {description}")
        lines += [
            f"complete -c scoreline -n '__fish_seen_subcommand_from {verb}' "
            f"-l {action.option_strings[-1].lstrip('-')} {'-r ' if action.nargs != 0 else ''}"
            f"-d {_quoted(action.help or '')}"
            for action in _actions(parser)
        ]
    return "\n".join(lines)


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
