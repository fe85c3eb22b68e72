import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from scoreline.transforms.formats.lines import is_utf8, lines_not_utf8, split_lines

blocks = st.lists(
    st.sampled_from([b"a", b"\n", b"\r\n", b"\r", b" ", b"\t", "é".encode(), b"\xff"]), max_size=30
).map(b"".join)


def plain_lines(block: bytes) -> list[bytes]:
    return [line.removesuffix(b"\r") for line in block.split(b"\n")]


@settings(max_examples=300, deadline=None)
@given(blocks)
def test_lines_are_those_that_are_not_blank(block):
    lines = split_lines(block)
    assert [lines[i] for i in range(len(lines))] == [
        p for p in plain_lines(block) if p.strip(b" \t\r")
    ]
    filled = split_lines(block, blank_is_space=False)
    assert [filled[i] for i in range(len(filled))] == [p for p in plain_lines(block) if p]


@given(blocks)
def test_joined_lines_split_into_the_same(block):
    lines = split_lines(block, blank_is_space=False)
    again = lines.join()
    assert again == b"".join(lines[i] + b"\n" for i in range(len(lines)))
    some = lines.take(np.arange(0, len(lines), 2))
    assert some.join() == b"".join(some[i] + b"\n" for i in range(len(some)))


@given(blocks)
def test_lines_that_hold_positions(block):
    lines = split_lines(block, blank_is_space=False)
    places = np.flatnonzero(np.frombuffer(block, np.uint8) == ord("a"))
    assert lines.holding(places).tolist() == [i for i in range(len(lines)) if b"a" in lines[i]]


@given(blocks, st.binary(max_size=6))
def test_utf8_is_what_python_decodes(block, noise):
    def decodes(data):
        try:
            data.decode()
        except UnicodeDecodeError:
            return False
        return True

    assert is_utf8(block + noise) == decodes(block + noise)
    lines = split_lines(block + noise)
    assert lines_not_utf8(lines).tolist() == [i for i in range(len(lines)) if not decodes(lines[i])]
