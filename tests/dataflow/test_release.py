"""A release that renames a step of a stream says what it is called now.

`step_names/VERSION.txt` holds the steps of a stream with every part that one can have. Dataflow
hands a running stream over by these names, so one that is neither there any more nor in RENAMES
would lose what is in flight.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from examples import ROOT, customers, pickled
from fake_dataflow import BUCKET, FakeCloud
from places import Places
from running import Ended
from sklearn.linear_model import LogisticRegression

from scoreline import __version__
from scoreline.pipelines.step_names import renamed

RECORDS = Path(__file__).with_name("step_names")
RECORD = "SCORELINE_RECORD_STEPS"
NUMBERS = ["age", "months", "spend"]

pytestmark = pytest.mark.timeout(300)  # the emulator may have to start


def stream(places: Places) -> dict[str, Any]:
    """A stream with every kind of step."""
    return {
        "name": "every-step",
        "source": {
            "type": "pubsub",
            "subscription": places.subscription,
            "deduplicate_by": "message_id",
        },
        "model": {"uri": f"{ROOT}/churn.joblib", "trust": {"allow_pickle": True}},
        "sinks": [
            {"path": f"{ROOT}/scores"},
            {"type": "pubsub", "topic": places.scores_topic},
            {"path": f"{ROOT}/scores_csv", "format": "csv"},
        ],
        "dead_letters": {"type": "pubsub", "topic": places.dead_topic},
    }


@pytest.fixture
def steps(
    scoreline: Callable[..., Ended],
    cloud: FakeCloud,
    flags: list[str],
    places: Places,
    workdir: Path,
) -> list[str]:
    """The steps of such a stream, as a submission records them."""
    frame = customers(20, seed=1)
    model = LogisticRegression().fit(frame[NUMBERS], frame.spend > 100)
    cloud.store.put(f"{BUCKET}/churn.joblib", pickled(model))
    Path("job.yaml").write_text(json.dumps(stream(places)))
    ended = scoreline("run", "job.yaml", *flags)
    assert ended.code == 0, ended.err
    (path,) = (name for name in cloud.store.names(ROOT) if name.endswith("/submission.json"))
    found: list[str] = json.loads(cloud.store.get(path))["steps"]
    return found


def test_every_step_of_every_release_has_a_successor(steps: list[str]) -> None:
    own = RECORDS / f"{__version__}.txt"
    if os.environ.get(RECORD) == "1":
        own.write_text("".join(f"{step}\n" for step in steps))
    recorded = {path.stem: path.read_text().splitlines() for path in RECORDS.glob("*.txt")}
    how = f"run this test with {RECORD}=1 to write {own.name}"
    assert recorded.get(__version__) == steps, (
        f"the steps of a stream are not those that are recorded for {__version__}. If that is "
        f"released, give the next version its number first. Then {how}, and list in "
        "pipelines/step_names.py what is renamed or gone since a release."
    )
    for release, old in recorded.items():
        lost = [step for step in old if renamed(step) not in ("", *steps)]
        assert not lost, f"{release} has steps without a successor: add them to RENAMES: {lost}"
