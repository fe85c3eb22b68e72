from hypothesis import given, settings
from hypothesis import strategies as st

from scoreline.transforms.formats.csv_dialect import CsvDialect
from scoreline.transforms.formats.csv_quotes import (
    _record_pattern,
    irregular_lines,
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


@settings(max_examples=500, deadline=None)
@given(st.lists(st.text('",a', max_size=12), max_size=8))
def test_regular_lines_are_whole_records(texts):
    lines = split_lines("\n".join(texts).encode(), blank_is_space=False)
    regular = set(range(len(lines))) - set(irregular_lines(lines, DIALECT).tolist())
    assert all(_record_pattern(DIALECT, False).fullmatch(lines[index]) for index in regular)


def test_quoted_fields_with_doubled_marks_are_regular():
    for line in (b'1,"a ""b"" c",2', b'"""a"""', b'"",""""', b'a,"b,""c"'):
        assert not len(irregular_lines(split_lines(line), DIALECT))
    for line in (b'a""b', b'"a""b', b'"a"",b'):
        assert len(irregular_lines(split_lines(line), DIALECT))


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
