"""Reads a Dockerfile, and takes its steps without Docker.

No image is pulled: the steps of all stages run in one folder that stands for the root of the file
system, and a COPY from another stage to the same path finds its files there. What only a container
has is left out and named: the images, and the steps that install packages of the system.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

_CONTINUED = re.compile(r"\\\n(?:\s*#.*\n)*")
_VARIABLE = re.compile(r"\$\{(\w+)\}|\$(\w+)")
_SYSTEM = "apt-get"  # a step that runs it takes root, and a container
_STEP_SECS = 900.0
_CACHED = {"PIP_NO_CACHE_DIR": "0"}  # an image keeps no downloads; a machine that tests does


@dataclass(frozen=True)
class Step:
    """One instruction, such as `RUN make`."""

    keyword: str
    text: str


@dataclass
class Stage:
    """What a FROM begins."""

    image: str
    name: str
    steps: list[Step] = field(default_factory=list)

    def texts(self, keyword: str) -> list[str]:
        return [step.text for step in self.steps if step.keyword == keyword]


@dataclass(frozen=True)
class Dockerfile:
    """Its arguments with their defaults, and its stages in order."""

    arguments: Mapping[str, str]
    stages: list[Stage]


def read_dockerfile(path: Path) -> Dockerfile:
    """Turns a Dockerfile into its stages."""
    arguments: dict[str, str] = {}
    stages: list[Stage] = []
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
    for line in filter(str.strip, _CONTINUED.sub(" ", "\n".join(lines) + "\n").splitlines()):
        keyword, _, text = line.strip().partition(" ")
        if keyword == "FROM":
            image, _, name = text.partition(" AS ")
            stages.append(Stage(expand(image, arguments), name or str(len(stages))))
            continue
        if keyword == "ARG":
            name, _, default = text.partition("=")
            arguments.setdefault(name, default.strip('"'))
        if stages:
            stages[-1].steps.append(Step(keyword, text.strip()))
    return Dockerfile(arguments, stages)


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Replaces $NAME and ${NAME}."""
    return _VARIABLE.sub(lambda found: variables.get(found[1] or found[2], ""), text)


def context(checkout: Path) -> set[str]:
    """The names at the top of the checkout that its .dockerignore leaves to Docker."""
    lines = (checkout / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*", "what is not named is left out"
    return {rule.removeprefix("!") for rule in rules if rule.startswith("!")}


@dataclass
class Built:
    """What the steps have left.

    Attributes:
        root: stands for `/`.
        env: of the last stage, its paths below root.
        entrypoint: of the last stage.
        left_out: steps that were not taken.
    """

    root: Path
    env: dict[str, str]
    entrypoint: list[str]
    left_out: list[str]


def build(
    dockerfile: Dockerfile, checkout: Path, root: Path, arguments: Mapping[str, str]
) -> Built:
    """Takes all steps, in the order of the file.

    Raises:
        RuntimeError: a step failed, with what it said.
    """
    builder = _Builder(dockerfile, checkout, root, dict(dockerfile.arguments) | dict(arguments))
    for stage in dockerfile.stages:
        builder.begin(stage)
        for step in stage.steps:
            builder.take(step)
    last = dockerfile.stages[-1]
    entrypoint = json.loads(last.texts("ENTRYPOINT")[0])
    return Built(root, builder.env, entrypoint, builder.left_out)


class _Builder:
    def __init__(
        self, dockerfile: Dockerfile, checkout: Path, root: Path, arguments: dict[str, str]
    ):
        self._stages = {stage.name: stage for stage in dockerfile.stages}
        self._checkout, self._root, self._arguments = checkout, root, arguments
        self._environments: dict[str, dict[str, str]] = {}
        self._folder = root
        self.env: dict[str, str] = {}
        self.left_out: list[str] = []

    def begin(self, stage: Stage) -> None:
        """A stage goes on with the variables of the one that it is made from."""
        python = str(Path(sys.executable).resolve().parent)
        image = {"PATH": os.pathsep.join((python, "/usr/local/bin", "/usr/bin", "/bin"))}
        self.env = dict(self._environments.get(stage.image, image))
        self._environments[stage.name] = self.env
        if self._folder != self._root:  # where the stage before worked: this one sees none of it
            shutil.rmtree(self._folder)
        self._folder = self._root

    def take(self, step: Step) -> None:
        getattr(self, f"_{step.keyword.lower()}", lambda _: None)(step.text)

    def _env(self, text: str) -> None:
        for word in shlex.split(text):
            name, _, value = word.partition("=")
            self.env[name] = expand(self._below_root(value), self._arguments | self.env)

    def _workdir(self, text: str) -> None:
        self._folder = self._root / text.lstrip("/")
        self._folder.mkdir(parents=True, exist_ok=True)

    def _copy(self, text: str) -> None:
        words = text.split()
        if words[0].startswith("--from="):
            stage = self._stages[words[0].removeprefix("--from=")]
            assert words[1] == words[2], "the folder of a stage keeps its path"
            if stage.steps:
                assert self._at(words[1]).exists(), text
            else:
                self.left_out.append(f"COPY {text}")  # from an image that nobody pulled
            return
        *sources, target = words
        into = self._folder / target if not target.startswith("/") else self._at(target)
        for source in sources:
            self._copy_one(source, into, is_folder=target.endswith("/"))

    def _copy_one(self, source: str, into: Path, is_folder: bool) -> None:
        seen = context(self._checkout)
        assert {source, Path(source).parts[0]} & seen, f".dockerignore hides {source}"
        path = self._checkout / source
        if path.is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
            shutil.copytree(path, into, ignore=ignored, dirs_exist_ok=True)
        else:
            target = into / path.name if is_folder else into
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)

    def _run(self, text: str) -> None:
        if _SYSTEM in text:
            self.left_out.append(f"RUN {text}")
            return
        ended = subprocess.run(
            ["/bin/sh", "-ec", self._below_root(text)],
            cwd=self._folder,
            env=_outside() | self._arguments | self.env | _CACHED,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_STEP_SECS,
        )
        if ended.returncode:
            raise RuntimeError(f"RUN {text}\n{ended.stdout[-3_000:]}")

    def _at(self, path: str) -> Path:
        return self._root / path.lstrip("/")

    def _below_root(self, text: str) -> str:
        """Moves the folders that the image has of its own below the root."""
        return re.sub(r"(?<![\w.$}])/(?=(?:opt|src|template|wheels)\b)", f"{self._root}/", text)


def _outside() -> dict[str, str]:
    """What a build on this machine needs of it: the way to the package index."""
    proxies = {f"{kind}_PROXY" for kind in ("HTTP", "HTTPS", "NO")}
    return {
        name: value
        for name, value in os.environ.items()
        if name == "HOME" or name.upper() in proxies or name.startswith(("PIP_", "SSL_"))
    }
