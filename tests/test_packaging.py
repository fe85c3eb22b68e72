"""What is built from a checkout, and that it runs: nothing of this sees the installed scoreline."""

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LAYERS = ("models", "transforms", "pipelines")
BUILT_FROM = ("LICENSE", "README.md", "pyproject.toml", "setup.py")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy, as building leaves folders behind."""
    copy = tmp_path_factory.mktemp("checkout")
    for name in BUILT_FROM:
        shutil.copy(ROOT / name, copy)
    for name in ("package", *LAYERS):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


@pytest.fixture(scope="module")
def wheel(checkout, tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    run("-m", "pip", "wheel", ".", *OFFLINE, "--no-build-isolation", "-w", folder, cwd=checkout)
    (built,) = folder.glob("scoreline-*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A folder with nothing but scoreline."""
    folder = tmp_path_factory.mktemp("installed")
    run("-m", "pip", "install", wheel, *OFFLINE, "--target", folder, cwd=folder)
    return folder


OFFLINE = ("--no-deps", "--no-index", "--disable-pip-version-check", "--quiet")


def run(*words, cwd, path=""):
    done = subprocess.run(
        [sys.executable, *map(str, words)],
        cwd=cwd,
        env={"PYTHONPATH": str(path), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def sources(prefix):
    """Every file that must be in a package, under the name that it has there."""
    files = {f"{prefix[0]}/{name}" for name in ("__init__.py", "__main__.py", "py.typed")}
    for layer, folder in zip(LAYERS, prefix[1:], strict=True):
        paths = (ROOT / layer).rglob("*.py")
        files |= {f"{folder}/{path.relative_to(ROOT / layer).as_posix()}" for path in paths}
    return files


def test_the_wheel_holds_every_module_and_nothing_else(wheel):
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert names == sources(["scoreline", *(f"scoreline/{layer}" for layer in LAYERS)])


def test_the_source_distribution_can_be_built_again(checkout, tmp_path):
    run("setup.py", "--quiet", "sdist", "--dist-dir", tmp_path, cwd=checkout)
    (built,) = tmp_path.glob("scoreline-*.tar.gz")
    with tarfile.open(built) as archive:
        names = {name.split("/", 1)[-1] for name in archive.getnames()}
    assert names >= sources(["package", *LAYERS]) | set(BUILT_FROM)


# Without site-packages (-S): --version needs no library, and no other scoreline is in reach.
@pytest.mark.parametrize("where", ["elsewhere", "in a checkout"])
def test_the_installed_command_runs(installed, checkout, tmp_path, where):
    cwd = checkout if where == "in a checkout" else tmp_path
    version = run("-S", "-m", "scoreline", "--version", cwd=cwd, path=installed)
    assert version.startswith("scoreline 0.")
    script = installed / "bin" / "scoreline"
    assert run("-S", script, "--version", cwd=cwd, path=installed) == version
    found = "import scoreline, scoreline.pipelines; print(scoreline.pipelines.__file__)"
    assert run("-S", "-c", found, cwd=cwd, path=installed).startswith(str(installed))


IMAGE = "europe-west4-docker.pkg.dev/shop/scoreline/scoreline:0.1.0"


def test_the_template_is_made_checked_and_started_from_the_wheel(installed, tmp_path):
    """What a colleague does who has no checkout; a template is made without any library."""
    build = ("template", "build", "--image", IMAGE, "--output", "made")
    run("-S", "-m", "scoreline", *build, cwd=tmp_path, path=installed)
    made = tmp_path / "made" / "scoreline.json"
    assert "those of scoreline 0." in run(
        "-m", "scoreline", "template", "check", made, cwd=tmp_path, path=installed
    )
    start = ("template", "run", "gs://b/scoreline.json", "--job-file=gs://b/job.yaml", "--region=r")
    printed = run("-S", "-m", "scoreline", *start, "--print", cwd=tmp_path, path=installed)
    assert "--parameters=job_file=gs://b/job.yaml" in printed
