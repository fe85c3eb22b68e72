"""Pipelines: what a user starts. The command line, the job, its checks, its wiring."""

if __name__ == "pipelines":
    raise ImportError("import scoreline.pipelines, not pipelines: a worker could not unpickle it")

from .cli import main

__all__ = ["main"]
