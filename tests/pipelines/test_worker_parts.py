import io
import tarfile
import zipfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from scoreline import __version__
from scoreline.models.model import ModelInfo
from scoreline.pipelines.errors import UsageError
from scoreline.pipelines.job import make_job
from scoreline.pipelines.worker_image import ImageFacts, ImageUnknownError
from scoreline.pipelines.worker_parts import installed_from, worker_parts

IMAGE = "--sdk_container_image=registry.example/scoreline:1"


def job(**changes: Any) -> Any:
    values = {
        "name": "churn",
        "source": {"path": "gs://b/in.csv"},
        "model": {"uri": "gs://b/m"},
        "sinks": [{"path": "gs://b/scores"}],
    }
    return make_job(values | changes)


def with_code(reference: str) -> Any:
    return job(model={"uri": "gs://b/m", "preprocess": reference, "trust": {"allow_code": True}})


def info(format_: str) -> ModelInfo:
    return ModelInfo("m", "1", None, format_, "gs://b/m")


def holds(*extras: str, **facts: Any) -> Any:
    return lambda _image: ImageFacts(__version__, frozenset(extras), None, **facts)


@pytest.mark.parametrize(
    ("format_", "library"), [("skops", "skops"), ("onnx", "onnxruntime"), ("lightgbm", "lightgbm")]
)
def test_workers_install_the_versions_that_are_here(format_: str, library: str) -> None:
    parts = worker_parts(job(), info(format_), [])
    assert parts.extras == {format_}
    assert f"{library}=={version(library)}" in parts.requirements
    assert f"scikit-learn=={version('scikit-learn')}" in parts.requirements
    assert not [line for line in parts.requirements if line.startswith(("apache-beam", "ruff"))]


def test_a_model_of_scikit_learn_needs_no_extra() -> None:
    parts = worker_parts(job(), info("pickle"), [])
    assert parts.extras == set()
    assert not [line for line in parts.requirements if line.startswith(("onnx", "skops"))]


def test_a_bucket_of_another_cloud_needs_an_extra() -> None:
    parts = worker_parts(job(source={"path": "s3://b/in.csv"}), info("pickle"), [])
    assert parts.extras == {"aws"}
    assert f"apache-beam[aws]=={version('apache-beam')}" in parts.requirements


TABLE = {"type": "bigquery", "table": "p.d.scores"}


@pytest.mark.parametrize("flags", [[], [IMAGE]], ids=["installed", "image"])
@pytest.mark.parametrize(
    "changes",
    [
        {"source": {"type": "bigquery", "table": "p.d.orders"}},
        {"sinks": [TABLE], "report": {"path": "gs://b/runs"}},
        {"dead_letters": {"type": "bigquery", "table": "p.d.dead"}},
    ],
    ids=["source", "sink", "dead letters"],
)
def test_who_calls_bigquery_here_does_not_there(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], flags: list[str]
) -> None:
    assert worker_parts(job(**changes), info("pickle"), flags, holds()).notes == ()
    monkeypatch.setenv("GOOGLE_CLOUD_QUOTA_PROJECT", "p-2")
    (note,) = worker_parts(job(**changes), info("pickle"), flags, holds()).notes
    assert note.startswith("GOOGLE_CLOUD_QUOTA_PROJECT: set here only. Workers call BigQuery as")
    assert "--service_account_email" in note
    monkeypatch.setenv("GOOGLE_IMPERSONATE_SERVICE_ACCOUNT", "a@p.iam.gserviceaccount.com")
    (note,) = worker_parts(job(**changes), info("pickle"), flags, holds()).notes
    assert note.startswith("GOOGLE_IMPERSONATE_SERVICE_ACCOUNT and GOOGLE_CLOUD_QUOTA_PROJECT: ")


def test_a_job_without_a_table_calls_no_bigquery(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_CLOUD_QUOTA_PROJECT", "p-2")
    assert worker_parts(job(), info("pickle"), []).notes == ()


def test_an_image_holds_it_all() -> None:
    parts = worker_parts(job(), info("onnx"), [IMAGE], holds("onnx", "skops"))
    assert (parts.requirements, parts.notes) == ((), ())
    assert "extras that the job needs: onnx" in parts.as_lines()[0]


def test_an_image_that_lacks_an_extra() -> None:
    with pytest.raises(UsageError) as raised:
        worker_parts(job(), info("onnx"), [IMAGE], holds("skops"))
    assert "lacks the extra onnx, which the job needs (it has skops)" in str(raised.value)
    assert "--build-arg EXTRAS=onnx,skops from this version's" in str(raised.value)


def test_an_image_of_another_version() -> None:
    def describe(_image: str) -> ImageFacts:
        return ImageFacts("9.9", frozenset(), "2.7.18")

    with pytest.raises(UsageError) as raised:
        worker_parts(job(), info("pickle"), [IMAGE], describe)
    assert f"holds scoreline 9.9, and this is {__version__}" in str(raised.value)
    assert "has Python 2.7.18" in str(raised.value)


def test_what_cannot_be_found_out_is_said() -> None:
    def silent(_image: str) -> ImageFacts:
        return ImageFacts(None, None, None)

    def unreachable(_image: str) -> ImageFacts:
        raise ImageUnknownError("registry.example: HTTP 403")

    (note,) = worker_parts(job(), info("onnx"), [IMAGE], silent).notes
    assert "the image does not say what it holds" in note
    notes = worker_parts(with_code("mine.features:f"), info("onnx"), [IMAGE], unreachable).notes
    assert "could not be looked into (registry.example: HTTP 403)" in notes[0]
    assert notes[1] == "whether the image holds mine.features is seen when workers start"


def test_a_function_that_workers_would_not_have() -> None:
    with pytest.raises(UsageError) as raised:
        worker_parts(with_code("mine.features:f"), info("pickle"), [])
    assert "mine.features, which the job imports, would not be on the workers" in str(raised.value)


def test_a_function_in_a_package_that_is_sent_along(tmp_path: Path) -> None:
    wheel, archive, other = (tmp_path / name for name in ("m.whl", "m.tar.gz", "o.whl"))
    with zipfile.ZipFile(wheel, "w") as file:
        file.writestr("mine/__init__.py", "")
    with zipfile.ZipFile(other, "w") as file:
        file.writestr("not_mine/__init__.py", "")
    with tarfile.open(archive, "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("mine-1.0/mine.py"), io.BytesIO())
    made = with_code("mine.features:f")
    for path in (wheel, archive):
        parts = worker_parts(made, info("pickle"), [f"--extra_package={path}"])
        assert parts.modules == ("mine.features",)
        assert "they import mine.features" in parts.as_lines()
    for path in (other, tmp_path / "none.whl"):
        with pytest.raises(UsageError):
            worker_parts(made, info("pickle"), [f"--extra_package={path}"])


def test_a_function_beside_a_setup_file(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "mine.py").touch()
    flag = f"--setup_file={tmp_path / 'setup.py'}"
    assert worker_parts(with_code("mine:f"), info("pickle"), [flag]).modules == ("mine",)


def test_a_function_of_a_library_that_is_installed_there(tmp_path: Path) -> None:
    worker_parts(with_code("sklearn.preprocessing:scale"), info("pickle"), [])
    worker_parts(with_code("apache_beam.ml:x"), info("pickle"), [])
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("# tests\npytest >= 8\n\n")
    flag = f"--requirements_file={requirements}"
    parts = worker_parts(with_code("pytest:raises"), info("pickle"), [flag])
    assert parts.requirements[-1] == "pytest >= 8"
    with pytest.raises(UsageError):
        worker_parts(with_code("pytest:raises"), info("pickle"), [])
    with pytest.raises(UsageError, match="cannot be read"):
        worker_parts(job(), info("pickle"), ["--requirements_file=none.txt"])


def test_what_is_sent_along(tmp_path: Path) -> None:
    parts = worker_parts(job(), info("pickle"), [])
    files = installed_from(parts, tmp_path)
    assert files["requirements"].read_text().splitlines() == list(parts.requirements)
    assert files["wheel"].is_file()
    image = worker_parts(job(), info("pickle"), [IMAGE], holds())
    assert installed_from(image, tmp_path) == {}
