import pytest

from scoreline.pipelines.summary import summary

REPORT = {
    "rows": {"read": 200, "predicted": 190, "dead_lettered": 10},
    "rows_per_sec": 12345,
    "duration_secs": 1.25,
    "dead_letters": {"conform/null_value": 9, "predict/model_error": 1},
    "dead_letter_examples": {
        "conform/null_value": "/data/very/long/way/to/a/file/part-00001.parquet#7: column 'a': "
        "a missing value, which the model refuses: fill it in",
        "predict/model_error": "[bold]x[/bold]\n  second line",
    },
    "dead_letter_ratio": 0.05,
    "max_dead_letter_ratio": 0.05,
    "unaccounted": [],
    "model": {"name": "m", "version": "abc", "notes": ["made by scikit-learn 1.0"]},
    "output": "out",
    "dead_letters_output": "out/_dead_letters",
    "run_folder": "out/_run/1",
    "exit_code": 0,
}


def test_a_clean_run_says_no_more_than_it_has_to() -> None:
    clean = {
        "rows": {"read": 2, "predicted": 2, "dead_lettered": 0},
        "dead_letters": {},
        "model": {"name": "m", "version": "abc", "notes": []},
    }
    assert summary(REPORT | clean).splitlines() == [
        "read          2 rows",
        "predicted     2",
        "dead letters  0",
        "model         m, version abc",
        "time          1.2 s, 12,345 rows/s",
        "predictions   out",
        "report        out/_run/1/report.json",
    ]


def test_in_a_log_nothing_is_cut() -> None:
    text = summary(REPORT)
    assert "a missing value, which the model refuses: fill it in" in text
    assert "1   e.g. [bold]x[/bold] second line" in text
    assert "10   5.00% of the rows (limit 5.00%)" in text
    assert "made by scikit-learn 1.0" in text
    assert "\x1b" not in text


@pytest.mark.parametrize("width", [80, 60])
def test_on_a_terminal_examples_fit(width: int) -> None:
    (line,) = [line for line in summary(REPORT, width=width).splitlines() if "null_value" in line]
    assert len(line) == width
    assert "e.g. …/part-00001.parquet#7: " in line
    assert line.endswith("…")


def test_a_very_narrow_terminal_wraps() -> None:
    assert "9   e.g. …/part-000…" in summary(REPORT, width=10)


def test_an_example_without_a_place_is_cut_at_its_end() -> None:
    examples = {"conform/null_value": "x" * 300, "predict/model_error": "y"}
    text = summary(REPORT | {"dead_letter_examples": examples}, width=60)
    assert f"e.g. {'x' * 27}…\n" in text


def test_colours() -> None:
    text = summary(REPORT | {"max_dead_letter_ratio": 0.01}, color=True)
    assert "\x1b[1mread" in text
    assert "\x1b[33mmade by" in text
    assert "\x1b[31mmore dead letters than the limit" in text


def test_the_ratio_to_type_is_enough() -> None:
    rows = {"read": 3, "predicted": 2, "dead_lettered": 1}
    text = summary(REPORT | {"rows": rows, "dead_letter_ratio": 1 / 3})
    assert text.endswith("--overwrite --max-dead-letter-ratio 0.34")


@pytest.mark.parametrize("outputs", [["bq://p.ml.scores"], ["out", "bq://p.ml.scores"]])
def test_rows_of_a_table_are_not_to_be_added_again(outputs: list[str]) -> None:
    rows = {"read": 3, "predicted": 2, "dead_lettered": 1}
    text = summary(REPORT | {"rows": rows, "dead_letter_ratio": 1 / 3, "outputs": outputs})
    assert text.endswith(
        "give the next run (the rows of this one are in the table):  --max-dead-letter-ratio 0.34"
    )
    assert "--overwrite" not in text  # it is refused for a table


def test_rows_that_are_not_accounted_for() -> None:
    text = summary(REPORT | {"unaccounted": ["the input: 5 rows planned, but 4 read"]})
    assert "rows are not accounted for: the input: 5 rows planned, but 4 read. The " in text
    assert "do not rely on them." in text
    assert "written to" not in text  # of a table a snapshot is read, whatever is written to it


STREAM = REPORT | {
    "rows": {"read": 1200, "predicted": 190, "dead_lettered": 10, "deduplicated": 1000},
    "latency": {"messages": 200, "p50_secs": 0.0724, "p99_secs": 0.101, "max_secs": 1.5},
    "outputs": ["pubsub://projects/p/topics/t", "out"],
}


def test_a_stream_says_what_was_deduplicated_and_how_long_it_took() -> None:
    lines = summary(STREAM).splitlines()
    assert "predicted              190" in lines
    assert "deduplicated           1,000" in lines
    assert (
        "latency                p50 72 ms, p99 101 ms, at most 1.5 s (from publishing to writing)"
        in lines
    )
    assert "predictions            pubsub://projects/p/topics/t" in lines


def test_a_stream_without_a_message_has_no_latency() -> None:
    nothing = {"messages": 0, "p50_secs": None, "p99_secs": None, "max_secs": None}
    rows = {"read": 0, "predicted": 0, "dead_lettered": 0, "deduplicated": 0}
    text = summary(STREAM | {"latency": nothing, "rows": rows})
    assert "latency" not in text
    assert "deduplicated" not in text


def test_a_stream_needs_no_overwrite() -> None:
    rows = {"read": 3, "predicted": 2, "dead_lettered": 1}
    text = summary(STREAM | {"rows": rows, "dead_letter_ratio": 1 / 3})
    assert text.endswith("the same command with:  --max-dead-letter-ratio 0.34")


def test_dead_letters_in_a_topic_are_not_read_from_a_file() -> None:
    text = summary(STREAM | {"dead_letters_output": "pubsub://projects/p/topics/d"})
    assert "rejected rows          pubsub://projects/p/topics/d" in text
    assert "look at them" not in text


def test_messages_that_are_not_accounted_for() -> None:
    text = summary(STREAM | {"unaccounted": ["1200 rows read, but 1199 came out"]})
    assert "do not rely on them." in text
