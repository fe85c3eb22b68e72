import joblib
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from memory_files import MemoryFileSystem
from sklearn.linear_model import LinearRegression

from scoreline.models import ModelRef, Trust


@pytest.fixture
def memory():
    """A remote store for the test."""
    MemoryFileSystem.clear()
    yield MemoryFileSystem
    MemoryFileSystem.clear()


@pytest.fixture(scope="session")
def linear_ref(tmp_path_factory):
    """A model of the columns x and y: 2 x + 3 y + 1. It refuses NaN and infinity."""
    return _linear(tmp_path_factory, "x", "y")


@pytest.fixture(scope="session")
def spaced_ref(tmp_path_factory):
    """The same of the columns x and "f y"."""
    return _linear(tmp_path_factory, "x", "f y")


def _linear(tmp_path_factory, *names):
    x = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    estimator = LinearRegression().fit(x, 1 + x @ [2.0, 3.0])
    estimator.feature_names_in_ = np.array(names, dtype=object)
    path = tmp_path_factory.mktemp("model") / "linear.joblib"
    joblib.dump(estimator, path)
    return ModelRef(str(path), Trust(allow_pickle=True))


@pytest.fixture
def write_table(tmp_path):
    """Writes a table to a file below the test's folder and gives the path."""

    def write(name, columns, **options):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(columns), path, **options)
        return str(path)

    return write
