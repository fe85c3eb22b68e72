"""templates/dataflow: what the image is made of, and what builds and publishes it."""

import importlib.metadata
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from dockerfile import Dockerfile, read_dockerfile
from running import Ended

import scoreline
from scoreline.pipelines.template_program import IMAGE_VARIABLE

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = ROOT / "templates" / "dataflow"
WORKER = ROOT / "templates" / "worker" / "Dockerfile"
SUBSTITUTION = re.compile(r"\$\{(\w+)\}")
BUILT_IN = {"PROJECT_ID"}


@pytest.fixture(scope="module")
def dockerfile() -> Dockerfile:
    return read_dockerfile(TEMPLATE / "Dockerfile")


@pytest.fixture(scope="module")
def build() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((TEMPLATE / "cloudbuild.yaml").read_text())
    return found


def environment(dockerfile: Dockerfile) -> dict[str, str]:
    """The variables of the last stage."""
    words = " ".join(dockerfile.stages[-1].texts("ENV")).split()
    return dict(word.split("=", 1) for word in words)


def test_the_launcher_finds_the_program(dockerfile: Dockerfile) -> None:
    path = environment(dockerfile)["FLEX_TEMPLATE_PYTHON_PY_FILE"]
    assert f"templates/dataflow/main.py {path}" in dockerfile.stages[-1].texts("COPY")
    launcher = "/opt/google/dataflow/python_template_launcher"
    assert f"--from=launcher {launcher} {launcher}" in dockerfile.stages[-1].texts("COPY")


def test_nothing_is_installed_at_a_launch(dockerfile: Dockerfile) -> None:
    names = set(environment(dockerfile))
    assert names == {"FLEX_TEMPLATE_PYTHON_PY_FILE", IMAGE_VARIABLE}


def test_the_image_is_the_workers_too(dockerfile: Dockerfile) -> None:
    launcher, template = dockerfile.stages
    assert template.image == dockerfile.arguments["WORKER_IMAGE"]
    assert template.texts("ENTRYPOINT") == ['["/opt/apache/beam/boot"]']
    assert read_dockerfile(WORKER).stages[-1].texts("ENTRYPOINT") == template.texts("ENTRYPOINT")
    name, _, tag = launcher.image.rpartition(":")
    assert name.startswith("gcr.io/dataflow-templates-base/python")
    assert re.fullmatch(r"\d{8}_RC\d\d", tag), "pinned"


def test_the_image_is_checked_when_it_is_built(dockerfile: Dockerfile) -> None:
    steps = " ".join(dockerfile.stages[-1].texts("RUN"))
    assert "python -m pip check" in steps
    assert "python /template/main.py --help" in steps


def expanded(build: dict[str, Any], text: str, **given: str) -> str:
    """As Cloud Build writes substitutions out; they may name each other."""
    values = {**build["substitutions"], "PROJECT_ID": "shop", **given}
    while SUBSTITUTION.search(text):
        text = SUBSTITUTION.sub(lambda found: values[found[1]], text)
    return text


def step(build: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = (one for one in build["steps"] if one["id"] == name)
    return found


def test_every_substitution_is_defined_and_used(build: dict[str, Any]) -> None:
    text = (TEMPLATE / "cloudbuild.yaml").read_text()
    used = set(SUBSTITUTION.findall(text))
    assert used - BUILT_IN == set(build["substitutions"])
    assert build["options"]["dynamicSubstitutions"] is True, "one names another"
    assert build["substitutions"]["_TAG"] == scoreline.__version__


def test_the_images_are_built_with_arguments_that_exist(build: dict[str, Any]) -> None:
    for name, path in (("worker", WORKER), ("template", TEMPLATE / "Dockerfile")):
        words = step(build, name)["args"]
        assert f"--file={path.relative_to(ROOT).as_posix()}" in words
        given = [word.split("=")[1] for word in words if word.startswith("--build-arg=")]
        stated = read_dockerfile(path).arguments
        assert set(given) <= set(stated), set(given) - set(stated)
    assert "--build-arg=WORKER_USER=root" in step(build, "worker")["args"]


def test_the_image_knows_the_name_by_which_it_is_pushed(build: dict[str, Any]) -> None:
    words = step(build, "template")["args"]
    (tag,) = (word.removeprefix("--tag=") for word in words if word.startswith("--tag="))
    assert f"--build-arg=IMAGE={tag}" in words
    assert step(build, "push")["args"] == ["push", tag]
    assert step(build, "spec")["name"] == tag
    assert build["images"] == [tag]


def test_the_template_is_made_by_a_command_that_works(
    build: dict[str, Any], scoreline: Callable[..., Ended], workdir: Path
) -> None:
    made = step(build, "spec")
    assert made["entrypoint"] == "scoreline"
    words = [expanded(build, word) for word in made["args"]]
    place = f"--output={workdir}/template"
    ended = scoreline(*(place if word.startswith("--output=") else word for word in words))
    assert ended.code == 0, ended.err
    spec = json.loads((workdir / "template" / "scoreline.json").read_text())
    assert spec["image"] == f"europe-west4-docker.pkg.dev/shop/scoreline/scoreline:{version()}"
    (output,) = (word for word in words if word.startswith("--output="))
    published = step(build, "publish")["args"]
    assert published[2] == f"{output.removeprefix('--output=')}/scoreline.json"


def version() -> str:
    return importlib.metadata.version("scoreline")
