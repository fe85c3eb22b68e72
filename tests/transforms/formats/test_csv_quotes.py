from hypothesis import given, settings
from hypothesis import strategies as st

from scoreline.transforms.formats.csv_dialect import CsvDialect
from scoreline.transforms.formats.csv_quotes import (
    open_record_start,
    split_records,
    unsound_records,
)
from scoreline.transforms.formats.lines import split_lines

DIALECT = CsvDialect(names=("a",))
MULTILINE = CsvDialect(names=("a",), newlines_in_values=True)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.sampled_from(['"', ",", "a", "\n", '""', "b,", "\n1"]), max_size=40),
    st.integers(0, 60),
)
def test_where_a_record_stays_open(tokens, cut):
    """Everything before an open record is made of whole records; without one, the block is."""
    block = "".join(tokens).encode()[:cut]
    start = open_record_start(block, MULTILINE)
    whole = block if start is None else block[:start]
    assert not len(unsound_records(split_records(whole, MULTILINE), MULTILINE))
    if start is not None:
        assert len(unsound_records(split_lines(block[start:].split(b"\n")[0]), DIALECT))


def test_matching_takes_linear_time():
    line = b'"' + b'""' * 200_000 + b"a"
    assert unsound_records(split_lines(line), DIALECT).tolist() == [0]
    line = b"a," * 200_000 + b'"'
    assert unsound_records(split_lines(line), DIALECT).tolist() == [0]
    line = b'"a"b,' * 100_000
    assert unsound_records(split_lines(line), DIALECT).tolist() == []


def test_a_stray_carriage_return_does_not_leave_a_record_open():
    """No later line could close it: to wait for one would hold up all that follows."""
    for line in (b'1,"a"\r,b\n', b'1,"a\nb"\rx\n', b"a\rb\n"):
        assert open_record_start(line, MULTILINE) is None
    assert open_record_start(b'x,y\n1,"a\r\n\rb\n', MULTILINE) == 4
    plain = CsvDialect(names=("a",), quote=None, newlines_in_values=True)
    assert open_record_start(b'1,"a\r,b\n', plain) is None
