import pyarrow as pa

from scoreline.transforms.dead_letter_codes import DeadLetterCodes


def letters(*rows: tuple[str, str, str | None, str]) -> pa.RecordBatch:
    names = ("stage", "error_code", "row_id", "error_message")
    return pa.record_batch([pa.array(list(column)) for column in zip(*rows, strict=True)], names)


def test_rows_are_counted_by_reason_and_the_first_of_each_is_kept():
    codes = DeadLetterCodes()
    codes.note(letters(("decode", "bad", "s#1", "no JSON"), ("decode", "bad", "s#2", "worse")))
    codes.note(letters(("predict", "bad", None, "not a number"), ("decode", "bad", "s#3", "worst")))
    assert codes.counts == {"decode/bad": 3, "predict/bad": 1}
    assert codes.examples == {"decode/bad": "s#1: no JSON", "predict/bad": "not a number"}
    assert codes.entries() == (
        ("decode/bad", 3, "s#1: no JSON"),
        ("predict/bad", 1, "not a number"),
    )


def test_no_dead_letter_no_reason():
    assert DeadLetterCodes().entries() == ()
