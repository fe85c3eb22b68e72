"""Damaged files of scikit-learn's two formats: an error of ours, or a model; no crash, no hang."""

import pytest
import skops.io
from fuzz import LOADED, REFUSED, check_damaged, damage
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn_models import batch_of, classes, numbers, pickled

from scoreline.models.artifact import Artifact
from scoreline.models.estimator_format import PICKLE, SKOPS

FRAME = numbers()
FITTED = make_pipeline(StandardScaler(), LogisticRegression()).fit(FRAME, classes(FRAME))
FILES = {
    "plain": (PICKLE, pickled(FITTED)),
    "compressed": (PICKLE, pickled(FITTED, compress=3)),
    "skops": (SKOPS, Artifact("m.skops", skops.io.dumps(FITTED))),
}


@pytest.mark.parametrize("name", FILES)
def test_damaged_files(name: str):
    format_, artifact = FILES[name]
    ends = check_damaged(format_, artifact, batch_of(FRAME), mutations=48)
    assert set(ends) <= {LOADED, REFUSED}
    assert ends[REFUSED] > 10


@pytest.mark.soak
@pytest.mark.parametrize("name", FILES)
def test_a_thousand_damaged_files(name: str):
    format_, artifact = FILES[name]
    ends = check_damaged(format_, artifact, batch_of(FRAME), mutations=1_000)
    print(name, dict(ends))
    assert set(ends) <= {LOADED, REFUSED}


def test_damage_is_the_same_each_time_and_damages():
    data = bytes(range(256)) * 8
    damaged = [damage(data, number) for number in range(60)]
    assert damaged == [damage(data, number) for number in range(60)]
    assert sum(each != data for each in damaged) > 50
