"""The flags of `scoreline template`, and of the program that the template starts."""

import argparse
import copy
from typing import Any

from .flags import score_parser, verb_parser
from .template_parameters import JOB_FILE, parameters

ACTIONS = ("build", "check", "run")


def build_parser() -> argparse.ArgumentParser:
    """The flags of `scoreline template build`."""
    parser = verb_parser(
        "template build",
        "Write the files by which Dataflow knows the template: scoreline.json, which is published, "
        "and metadata.json, its form. Beam's flags become the defaults of whoever starts it.",
    )
    parser.add_argument(
        "--image",
        metavar="IMAGE",
        required=True,
        help="the image of launcher and workers, with a tag or a digest",
    )
    parser.add_argument(
        "--output", metavar="DIR", required=True, help="folder for the two files, local or gs://"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace files that are there")
    return parser


def check_parser() -> argparse.ArgumentParser:
    """The flags of `scoreline template check`."""
    parser = verb_parser(
        "template check",
        "Say whether a published template is one that this version of scoreline would make.",
    )
    parser.add_argument("spec", metavar="SPEC", help="the template's file, local or gs://")
    return parser


def run_parser() -> argparse.ArgumentParser:
    """The flags of `scoreline template run`."""
    parser = verb_parser(
        "template run",
        "Start a job from a template, with gcloud. Beam's flags (--project, --region, "
        "--max_num_workers, ...) become gcloud's.",
    )
    parser.add_argument("spec", metavar="SPEC", help="the template's file, gs://...")
    parser.add_argument(
        "--print", action="store_true", help="print the call of gcloud and start nothing"
    )
    _add_parameters(parser)
    return parser


def program_parser() -> argparse.ArgumentParser:
    """The flags of what the launcher starts: the template's parameters."""
    parser = verb_parser("template", "What the launcher of the Dataflow template starts.")
    _add_parameters(parser)
    return parser


TEMPLATE_PARSERS = {"build": build_parser, "check": check_parser, "run": run_parser}


def _add_parameters(parser: argparse.ArgumentParser) -> None:
    """Adds the parameters as the options that they are; a job file may say what they do not."""
    options = {action.dest: action for action in score_parser()._actions}
    groups: dict[str, Any] = {}
    for name, parameter in parameters().items():
        title = parameter.field.group.lower()
        if title not in groups:
            groups[title] = parser.add_argument_group(title)
        if name == JOB_FILE:
            groups[title].add_argument(
                parameter.flag, metavar="FILE", help="a job file at gs://, for all that has no flag"
            )
            continue
        option = copy.copy(options[name])
        option.required = False
        groups[title]._add_action(option)
