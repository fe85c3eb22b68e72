"""Stdout is for documents that another program reads; all that is for a person goes to stderr."""

import sys
from contextlib import suppress


def print_document(text: str) -> None:
    """Prints a whole document; whoever stopped reading it early has what they wanted."""
    with suppress(BrokenPipeError):
        print(text, end="" if text.endswith("\n") else "\n")  # noqa: T201
        sys.stdout.flush()
