import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoreline.transforms.latencies import EDGES, Latencies

SECS = st.floats(0, 1e8, allow_nan=False)


def test_the_edges_grow_by_six_percent_from_a_tenth_of_a_millisecond_to_months():
    assert EDGES[0] == pytest.approx(1e-4)
    assert EDGES[-1] > 100 * 24 * 3600
    ratios = EDGES[1:] / EDGES[:-1]
    assert ratios.min() > 1.05
    assert ratios.max() < 1.06
    for nice in (0.001, 0.02, 0.5, 1, 20, 5000):
        assert np.isclose(EDGES, nice, rtol=1e-12, atol=0).any()


@given(st.lists(SECS, min_size=1, max_size=50), st.sampled_from([0, 0.01, 0.5, 0.9, 0.99, 1]))
def test_a_quantile_is_within_six_percent_of_the_true_one(values, q):
    found = Latencies.none().plus(values).quantile(q)
    true = float(np.quantile(values, q, method="inverted_cdf"))
    assert found is not None
    in_bins = EDGES[0] <= true <= EDGES[-1]
    assert not in_bins or true / 1.06 <= found <= true * 1.06
    assert min(values) <= found <= max(values)


def test_many_values_are_told_apart():
    latencies = Latencies.none().plus(np.linspace(0, 1, 10_001))
    assert latencies.quantile(0.5) == pytest.approx(0.5, rel=0.01)
    assert latencies.quantile(0.99) == pytest.approx(0.99, rel=0.01)


def test_one_batch_or_many_give_the_same():
    values = np.random.default_rng(0).exponential(0.1, 1000)
    whole, parts = Latencies.none().plus(values), Latencies.none()
    for part in np.split(values, 10):
        parts = parts.plus(part)
    assert (whole.counts == parts.counts).all()
    assert whole.total_secs == pytest.approx(parts.total_secs)
    assert (whole.low_secs, whole.high_secs) == (parts.low_secs, parts.high_secs)


def test_nothing_has_no_quantile():
    none = Latencies.none()
    assert none.quantile(0.5) is None
    assert none.plus([]) is none
    assert none.plus([np.nan, np.inf]) is none
    assert none.as_report() == {
        "messages": 0,
        "p50_secs": None,
        "p99_secs": None,
        "max_secs": None,
    }


def test_clocks_that_differ_give_no_negative_latency():
    latencies = Latencies.none().plus([-3.0])
    assert latencies.quantile(0.5) == 0.0
    assert latencies.total_secs == 0.0


def test_what_came_after_an_earlier_state():
    before = Latencies.none().plus([60.0] * 5)
    recent = before.plus([0.1] * 3).since(before)
    assert recent.num_values == 3
    assert recent.quantile(0.99) == pytest.approx(0.1, rel=0.06)
    assert recent.high_secs < 0.11
    assert recent.total_secs == pytest.approx(0.3)
    assert before.since(before).quantile(0.5) is None
    beyond = before.plus([1e9])
    assert beyond.since(before).high_secs == 1e9


def test_values_within_an_edge():
    latencies = Latencies.none().plus([0.0015, 0.3, 0.6, 1e9])
    assert [latencies.num_within(edge) for edge in (0.001, 0.002, 0.5, 1, 1e5)] == [0, 1, 2, 3, 3]
    assert latencies.num_values == 4


def test_its_memory_does_not_grow():
    latencies = Latencies.none()
    size = latencies.counts.nbytes
    for _ in range(100):
        latencies = latencies.plus(np.random.default_rng(0).exponential(1, 100))
    assert latencies.counts.nbytes == size


@pytest.mark.parametrize("q", [-0.1, 1.1, float("nan")])
def test_a_quantile_is_a_share(q):
    with pytest.raises(ValueError, match="a quantile lies between 0 and 1, not at"):
        Latencies.none().quantile(q)
