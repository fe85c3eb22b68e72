import pytest

from scoreline.pipelines.durations import duration_text


@pytest.mark.parametrize(
    ("secs", "text"),
    [
        (None, "-"),
        (0, "0 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1.0 s"),
        (99.9, "99.9 s"),
        (100, "2 min"),
        (7199, "120 min"),
        (7200, "2.0 h"),
        (36_000_000, "10,000.0 h"),
    ],
)
def test_the_unit_fits_the_size(secs: float | None, text: str) -> None:
    assert duration_text(secs) == text
