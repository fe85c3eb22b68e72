"""The wheel that is packed for workers is the one that is built from a checkout."""

import subprocess
import sys
import zipfile
from pathlib import Path

from scoreline import __version__
from scoreline.pipelines.own_wheel import build_wheel

ROOT = Path(__file__).resolve().parents[2]
LAYERS = ("models", "transforms", "pipelines")


def test_it_holds_every_module(tmp_path: Path) -> None:
    wheel = build_wheel(tmp_path)
    with zipfile.ZipFile(wheel) as archive:
        found = {name for name in archive.namelist() if ".dist-info/" not in name}
        content = archive.read("scoreline/pipelines/own_wheel.py")
    expected = {f"scoreline/{name}" for name in ("__init__.py", "__main__.py", "py.typed")}
    for layer in LAYERS:
        paths = (ROOT / layer).rglob("*.py")
        expected |= {f"scoreline/{path.relative_to(ROOT).as_posix()}" for path in paths}
    assert found == expected
    assert content == (ROOT / "pipelines" / "own_wheel.py").read_bytes()


def test_it_is_the_same_each_time(tmp_path: Path) -> None:
    first = build_wheel(tmp_path).read_bytes()
    (tmp_path / "again").mkdir()
    assert build_wheel(tmp_path / "again").read_bytes() == first


def test_pip_installs_it(tmp_path: Path) -> None:
    wheel, target = build_wheel(tmp_path), tmp_path / "installed"
    install = ["-m", "pip", "install", str(wheel), "--no-deps", "--no-index", "--quiet"]
    install += ["--disable-pip-version-check", "--target", str(target)]
    subprocess.run([sys.executable, *install], check=True, capture_output=True)
    script = [sys.executable, "-S", str(target / "bin" / "scoreline"), "--version"]
    environment = {"PYTHONPATH": str(target)}
    said = subprocess.run(script, env=environment, check=True, capture_output=True, text=True)
    assert said.stdout == f"scoreline {__version__}\n"
