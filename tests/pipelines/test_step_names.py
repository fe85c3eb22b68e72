import apache_beam as beam
import pytest

from scoreline.pipelines.errors import UsageError
from scoreline.pipelines.step_names import Rename, name_mapping, renamed, steps_of

RENAMES = (
    Rename("0.2.0", "Predict/Score", "Predict/Infer"),
    Rename("0.3.0", "Predict", "Score"),
    Rename("0.3.0", "Watch", ""),
)


def test_the_steps_of_a_graph() -> None:
    pipeline = beam.Pipeline()
    pipeline | "Make" >> beam.Create([1])
    steps = steps_of(pipeline)
    assert "Make" in steps
    assert "Make/Impulse" in steps
    assert "" not in steps


def test_a_step_that_was_renamed_twice() -> None:
    assert renamed("Predict/Score/ParDo", RENAMES) == "Score/Infer/ParDo"
    assert renamed("Predict", RENAMES) == "Score"
    assert renamed("Predictions", RENAMES) == "Predictions"
    assert renamed("Watch/Watch", RENAMES) == ""


def test_only_the_outermost_names_are_mapped() -> None:
    old = ["Read", "Predict", "Predict/Score", "Predict/Score/A", "Watch", "Watch/Watch"]
    new = ["Read", "Score", "Score/Infer", "Score/Infer/A"]
    assert name_mapping(old, new, RENAMES) == {
        "Predict": "Score",
        "Predict/Score": "Score/Infer",
        "Watch": "",
    }


def test_nothing_to_map() -> None:
    assert name_mapping(["A", "A/B"], ["A", "A/B", "C"], RENAMES) == {}


def test_what_the_user_says_counts() -> None:
    assert name_mapping(["A", "B"], ["C"], RENAMES, {"A": "C", "B": ""}) == {"A": "C", "B": ""}


def test_a_step_without_a_successor() -> None:
    with pytest.raises(UsageError) as raised:
        name_mapping(["A", "A/B", "C", "Read"], ["Read"], RENAMES)
    assert "the running stream has steps that the new one lacks: A, C." in str(raised.value)
    assert "Drain it" in str(raised.value)
