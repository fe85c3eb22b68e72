"""The template's files: against the service's own type, and what becomes of a wrong image."""

import json
from pathlib import Path
from typing import Any

import pytest
from google.cloud.dataflow_v1beta3.types import ContainerSpec, ParameterType, TemplateMetadata
from google.protobuf.json_format import MessageToDict, ParseDict, ParseError

from scoreline import __version__
from scoreline.pipelines.errors import UsageError
from scoreline.pipelines.template_check import check_spec
from scoreline.pipelines.template_parameters import parameters
from scoreline.pipelines.template_spec import (
    METADATA,
    SPEC,
    check_image,
    container_spec,
    metadata,
    write_files,
)

IMAGE = "europe-west4-docker.pkg.dev/shop/scoreline/scoreline:0.1.0"
DIGEST = "@sha256:" + "0f" * 32


def test_the_service_understands_the_form() -> None:
    parsed = ParseDict(metadata(), TemplateMetadata.pb(TemplateMetadata()))
    assert MessageToDict(parsed) == metadata(), "nothing is lost or read as something else"


def test_the_service_refuses_what_it_has_no_name_for() -> None:
    with pytest.raises(ParseError, match="helpTxt"):
        ParseDict({"parameters": [{"helpTxt": ""}]}, TemplateMetadata.pb(TemplateMetadata()))


def test_the_service_understands_the_template() -> None:
    spec = container_spec(IMAGE, {"maxWorkers": 5, "ipConfiguration": "WORKER_IP_PRIVATE"})
    parsed = ParseDict(spec, ContainerSpec.pb(ContainerSpec()))
    assert MessageToDict(parsed) == spec
    assert spec["defaultEnvironment"]["sdkContainerImage"] == IMAGE


def test_the_form_says_of_each_parameter_what_the_option_says() -> None:
    described = metadata()["parameters"]
    assert [one["name"] for one in described] == list(parameters())
    for one in described:
        parameter = parameters()[one["name"]]
        assert one["isOptional"] is True, "a job file may say it"
        assert one.get("defaultValue") == parameter.default
        assert tuple(choice["value"] for choice in one.get("enumOptions", ())) == parameter.choices
        assert one["helpText"] == parameter.help_text
        assert one["groupName"] == parameter.field.group
        assert ParameterType[one["paramType"]] is not ParameterType.DEFAULT
        assert bool(one.get("enumOptions")) == (one["paramType"] == "ENUM")


def test_batch_or_streaming_is_not_said() -> None:
    """One template starts both; the input decides."""
    assert "streaming" not in metadata()
    assert metadata()["supportsAtLeastOnce"] is True


def test_both_files_are_written_and_not_over_others(tmp_path: Path) -> None:
    spec = container_spec(IMAGE, {})
    files: dict[str, dict[str, Any]] = {SPEC: spec, METADATA: spec["metadata"]}
    folder = tmp_path / "new" / "template"
    paths = write_files(f"{folder}/", files, overwrite=False)
    assert paths == [f"{folder}/scoreline.json", f"{folder}/metadata.json"]
    assert json.loads(Path(paths[0]).read_text()) == spec
    assert json.loads(Path(paths[1]).read_text()) == metadata()
    with pytest.raises(UsageError, match=r"scoreline\.json exists\. Replace it with --overwrite"):
        write_files(str(folder), files, overwrite=False)
    assert write_files(str(folder), files, overwrite=True) == paths


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"--output: cannot write .*file/sub/a"):
        write_files(f"{tmp_path}/file/sub", {"a": {}}, overwrite=True)


@pytest.mark.parametrize(
    "image",
    [
        IMAGE,
        IMAGE + DIGEST,
        "gcr.io/shop/scoreline" + DIGEST,
        "localhost:5000/a/b:1",
        "a/b:c_1.2-x",
    ],
)
def test_an_image_that_stays_the_same(image: str) -> None:
    check_image(image)


@pytest.mark.parametrize(
    ("image", "said"),
    [
        ("gcr.io/shop/scoreline", "expected a tag other than latest, or a digest"),
        ("gcr.io/shop/scoreline:latest", "expected a tag other than latest, or a digest"),
        ("localhost:5000/scoreline", "expected a tag other than latest, or a digest"),
        ("scoreline:1", "--image: expected an image such as"),
        ("gcr.io/shop/score line:1", "--image: expected an image such as"),
        ("gcr.io/shop/scoreline@sha256:12", "--image: expected an image such as"),
        ("", "--image: expected an image such as"),
    ],
)
def test_an_image_that_may_be_another_tomorrow(image: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        check_image(image)


def saved(tmp_path: Path, spec: Any) -> str:
    path = tmp_path / SPEC
    path.write_text(spec if isinstance(spec, str) else json.dumps(spec))
    return str(path)


def test_a_template_of_ours_is_found_to_fit(tmp_path: Path) -> None:
    text = check_spec(saved(tmp_path, container_spec(IMAGE, {"maxWorkers": 5})))
    assert text.splitlines()[1:] == [
        f"  image       {IMAGE}",
        f"  parameters  {len(parameters())}, those of scoreline {__version__}",
        "  default     maxWorkers 5",
    ]


def changed(**changes: Any) -> dict[str, Any]:
    return {**json.loads(json.dumps(container_spec(IMAGE, {}))), **changes}


def without_model() -> dict[str, Any]:
    form = metadata()
    form["parameters"] = [one for one in form["parameters"] if one["name"] != "model"]
    return changed(metadata=form)


def with_another_label() -> dict[str, Any]:
    form = metadata()
    form["parameters"][0]["label"] = "Other"
    form["parameters"][0]["isOptional"] = False
    form["parameters"].append({"name": "limit", "label": "Limit", "helpText": "Rows."})
    return changed(metadata=form)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("{", ["is no JSON"]),
        ("[]", ["expected a JSON object"]),
        (changed(imagee="x"), ['no field named "imagee"']),
        (changed(image="gcr.io/p/x:latest"), ["image: ", "expected a tag other than latest"]),
        (changed(sdkInfo={"language": "JAVA"}), ["sdkInfo: expected {'language': 'PYTHON'}"]),
        (changed(defaultEnvironment={}), ["sdkContainerImage: expected the launcher's image, got"]),
        (
            without_model(),
            ["the parameter model is missing; scoreline", "build and publish it anew"],
        ),
        (
            with_another_label(),
            ["the parameter limit is unknown", "the parameter input differs in isOptional, label;"],
        ),
    ],
)
def test_a_template_that_does_not_fit(tmp_path: Path, spec: Any, said: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        check_spec(saved(tmp_path, spec))
    for words in said:
        assert words in str(caught.value)


def test_a_template_that_is_not_there() -> None:
    with pytest.raises(
        UsageError, match=r"no template x\.json\. scoreline template build makes one"
    ):
        check_spec("x.json")
