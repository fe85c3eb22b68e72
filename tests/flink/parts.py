"""What tests on Flink and Prism start, as a program that makes it.

    python tests/flink/parts.py    # makes what is missing, and prints where all of it is

How parts are kept is said in tests/cached_parts.py.
"""

import hashlib
import shutil
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))  # where this is run as a program

from cached_parts import Part, ensure, make_all, run

FLINK_VERSION = "1.19.3"
PRISM_VERSION = "v2.77.0"
POM = Path(__file__).with_name("pom.xml")
COMMAND = "python tests/flink/parts.py"

__all__ = ["BOOT", "FLINK", "JOB_SERVER", "PARTS", "PRISM", "Part", "ensure"]


def _make_flink(path: Path) -> None:
    """Takes the jars out of the wheel that PyFlink gets them from."""
    installed = path.with_name("installed")
    words = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    wheel = f"apache-flink-libraries=={FLINK_VERSION}"
    run([sys.executable, *words, "--target", str(installed), wheel])
    (installed / "pyflink").rename(path)


def _make_job_server(path: Path) -> None:
    """Builds the jar in the folder that it is to lie in: Maven writes beside its pom."""
    shutil.copy(POM, path.parent)
    pom = str(path.with_name(POM.name))
    run(["mvn", "--batch-mode", "--quiet", "--file", pom, "package"])
    path.with_name("target").joinpath("job-server.jar").rename(path)


def _make_prism(path: Path) -> None:
    _install("go/cmd/prism", path)


def _make_boot(path: Path) -> None:
    _install("python/container", path)


def _install(folder: str, path: Path) -> None:
    """Builds a program of Beam's; Go names it after its folder."""
    module = f"github.com/apache/beam/sdks/v2/{folder}@{PRISM_VERSION}"
    run(["go", "install", module], GOBIN=str(path.parent / "bin"))
    (path.parent / "bin" / Path(folder).name).rename(path)


_HASH = hashlib.sha256(POM.read_bytes()).hexdigest()[:12]

FLINK = Part("Flink", f"flink-{FLINK_VERSION}", ("java",), _make_flink, COMMAND)
JOB_SERVER = Part(
    "Flink job server of Beam",
    f"flink-job-server-{_HASH}.jar",
    ("java", "mvn"),
    _make_job_server,
    COMMAND,
)
PRISM = Part("Prism", f"prism-{PRISM_VERSION}", ("go",), _make_prism, COMMAND)
BOOT = Part("boot program of Beam's workers", f"boot-{PRISM_VERSION}", ("go",), _make_boot, COMMAND)
PARTS = (FLINK, JOB_SERVER, PRISM, BOOT)


if __name__ == "__main__":
    sys.exit(make_all(PARTS))
