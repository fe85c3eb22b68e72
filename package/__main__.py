"""Runs the command line as ``python -m scoreline``."""

from scoreline.pipelines.cli import console

if __name__ == "__main__":
    console()
