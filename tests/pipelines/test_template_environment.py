"""Beam's flags as the service and gcloud call them."""

import pytest

from scoreline.pipelines.errors import UsageError
from scoreline.pipelines.template_environment import environment_of, gcloud_flags, in_one_item

FLAGS = [
    "--runner=DataflowRunner",
    "--num_workers=2",
    "--max_num_workers=9",
    "--worker_machine_type=n2-standard-4",
    "--service_account_email=scoreline@shop.iam.gserviceaccount.com",
    "--temp_location=gs://bucket/temp",
    "--staging_location=gs://bucket/staging",
    "--subnetwork=regions/europe-west4/subnetworks/private",
    "--no_use_public_ips",
    "--labels=team=fraud",
    "--experiments=enable_prime,use_x=y",
    "--dataflow_service_options=worker_accelerator=type:nvidia-l4;count:1",
    "--number_of_worker_harness_threads=4",
]


def test_flags_become_the_default_environment() -> None:
    assert environment_of(FLAGS) == {
        "numWorkers": 2,
        "maxWorkers": 9,
        "machineType": "n2-standard-4",
        "serviceAccountEmail": "scoreline@shop.iam.gserviceaccount.com",
        "tempLocation": "gs://bucket/temp",
        "stagingLocation": "gs://bucket/staging",
        "subnetwork": "regions/europe-west4/subnetworks/private",
        "ipConfiguration": "WORKER_IP_PRIVATE",
        "additionalUserLabels": {"team": "fraud"},
        "additionalExperiments": ["enable_prime", "use_x=y"],
        "additionalPipelineOptions": [
            "dataflow_service_options=worker_accelerator=type:nvidia-l4;count:1",
            "number_of_worker_harness_threads=4",
        ],
    }


def test_flags_become_those_of_gcloud() -> None:
    assert gcloud_flags([*FLAGS, "--project=shop", "--region=europe-west4", "--job_name=x"]) == [
        "--num-workers=2",
        "--max-workers=9",
        "--worker-machine-type=n2-standard-4",
        "--service-account-email=scoreline@shop.iam.gserviceaccount.com",
        "--temp-location=gs://bucket/temp",
        "--staging-location=gs://bucket/staging",
        "--subnetwork=regions/europe-west4/subnetworks/private",
        "--disable-public-ips",
        "--additional-user-labels=team=fraud",
        "--additional-experiments=enable_prime,use_x=y",
        "--additional-pipeline-options=dataflow_service_options="
        "worker_accelerator=type:nvidia-l4;count:1",
        "--additional-pipeline-options=number_of_worker_harness_threads=4",
        "--project=shop",
        "--region=europe-west4",
    ]


def test_an_update_and_its_mapping() -> None:
    flags = ["--update", '--transform_name_mapping={"Old": "New", "A": "B,C"}']
    assert gcloud_flags(flags) == [
        "--update",
        "--transform-name-mappings=Old=New",
        "--transform-name-mappings=^;^A=B,C",
    ]


def test_labels_may_come_as_an_object() -> None:
    labels = ['--labels={"team": "fraud", "stage": "test"}', "--label=cost=42"]
    assert environment_of(labels) == {
        "additionalUserLabels": {"team": "fraud", "stage": "test", "cost": "42"}
    }


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("--runner=FlinkRunner", "--runner=FlinkRunner: a template runs on Dataflow"),
        ("--streaming", "--streaming: whether the job is a stream follows from its input"),
        ("--template_location=gs://b/x", "--template_location: the launcher says where"),
        ("--setup_file=./setup.py", "--setup_file: the image holds all that a job needs"),
        ("--requirements_file=r.txt", "--requirements_file: the image holds all that a job needs"),
        ("--max_num_workers=many", "--max_num_workers: expected a whole number, got 'many'"),
        ("--labels=fraud", "--labels: expected key=value, got 'fraud'"),
    ],
)
def test_what_a_template_cannot_take(flag: str, said: str) -> None:
    for translate in (environment_of, gcloud_flags):
        with pytest.raises(UsageError) as caught:
            translate([flag])
        assert str(caught.value).startswith(said)


@pytest.mark.parametrize("flag", ["--project=p", "--region=r", "--job_name=j", "--update"])
def test_what_only_a_call_can_say(flag: str) -> None:
    with pytest.raises(UsageError, match="whoever starts the template says it"):
        environment_of([flag])
    gcloud_flags([flag])


def test_a_mapping_that_is_none() -> None:
    with pytest.raises(UsageError, match="expected a JSON object, got 'Old=New'"):
        gcloud_flags(["--update", "--transform_name_mapping=Old=New"])


@pytest.mark.parametrize("text", ["keep=a", "keep=a,b", "keep=a,b;c", "keep=;,;;", "^odd"])
def test_one_item_stays_one_item(text: str) -> None:
    """As gcloud reads it: `^DELIMITER^` in front, or a comma."""
    written = in_one_item(text)
    if written.startswith("^"):
        delimiter, _, rest = written[1:].partition("^")
        assert rest.split(delimiter) == [text]
    else:
        assert written.split(",") == [text]
