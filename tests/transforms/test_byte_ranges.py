import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoreline.transforms import byte_ranges
from scoreline.transforms.byte_ranges import read_blocks

texts = st.lists(st.sampled_from([b"\n", b"a", b"bcd", b"\r\n", b"e" * 9]), max_size=40)
sizes = st.integers(1, 12)


@pytest.fixture(autouse=True)
def _small_steps(monkeypatch):
    monkeypatch.setattr(byte_ranges, "_STEP_BYTES", 3)


def lines_at(text, offset=0):
    """Every line of a text with its offset."""
    found = []
    for line in io.BytesIO(text):
        found.append((offset, line))
        offset += len(line)
    return found


def lines_of(blocks):
    found = []
    for block in blocks:
        assert block.data
        assert not block.too_long
        found += lines_at(block.data, block.offset)
    return found


def cut(draw, size):
    edges = sorted(draw(st.lists(st.integers(0, size), max_size=6)))
    return list(zip([0, *edges], [*edges, size], strict=True))


@given(st.data(), texts.map(b"".join), sizes, st.booleans())
def test_ranges_give_every_line_exactly_once(data, text, block_bytes, is_header):
    """Wherever the cuts fall, also inside what stands before the first line."""
    lines = lines_at(text)
    first = lines[1][0] if is_header and len(lines) > 1 else 0
    found = []
    for start, stop in cut(data.draw, len(text)):
        blocks = read_blocks(io.BytesIO(text), start, stop, first=first, block_bytes=block_bytes)
        found += lines_of(blocks)
    assert found == [line for line in lines if line[0] >= first]


@given(texts.map(b"".join), sizes)
def test_a_stream_that_cannot_be_wound_back_is_read_to_its_end(text, block_bytes):
    class Stream(io.RawIOBase):
        def read(self, size=-1, source=io.BytesIO(text)):  # noqa: B008
            return source.read(min(size, 2))

    assert lines_of(read_blocks(Stream(), block_bytes=block_bytes)) == lines_at(text)


@given(st.data(), texts.map(b"".join), sizes, st.integers(1, 12))
def test_long_lines_are_told_wherever_the_cuts_fall(data, text, block_bytes, extra):
    longest = 2 * block_bytes + extra  # a range's last block may be a little larger
    found = []
    for start, stop in cut(data.draw, len(text)):
        for block in read_blocks(
            io.BytesIO(text), start, stop, block_bytes=block_bytes, max_line_bytes=longest
        ):
            if block.too_long:
                found.append((block.offset, block.data, True))
            else:
                found += [(at, line, False) for at, line in lines_at(block.data, block.offset)]
    assert found == [
        (at, line[:longest], True) if len(line.removesuffix(b"\n")) > longest else (at, line, False)
        for at, line in lines_at(text)
    ]


@given(texts.map(b"".join), texts.map(b"".join), sizes)
def test_a_file_that_grows_gives_the_lines_that_it_had(text, more, block_bytes):
    blocks = read_blocks(io.BytesIO(text + more), 0, len(text), block_bytes=block_bytes)
    assert [at for at, _ in lines_of(blocks)] == [at for at, _ in lines_at(text)]


@pytest.mark.parametrize("start", [0, 2, 11, 30])
def test_a_file_that_shrank_is_an_error_and_not_a_shorter_file(start):
    with pytest.raises(OSError, match=r"expected at least 1,040 bytes, .* but it ends after "):
        list(read_blocks(io.BytesIO(b"one\ntwo\nthr"), start, 1040, block_bytes=4))


def test_blocks_have_about_the_size_that_was_asked_for():
    text = b"".join(b"line %d\n" % number for number in range(10_000))
    blocks = list(read_blocks(io.BytesIO(text), block_bytes=1000))
    assert b"".join(block.data for block in blocks) == text
    assert all(980 < len(block.data) <= 1000 for block in blocks[:-1])


def test_what_has_no_line_end_does_not_fill_memory(monkeypatch):
    class Endless(io.RawIOBase):
        left = 10**9

        def read(self, size=-1):
            size = min(size, self.left)
            self.left -= size
            return b"x" * size

    monkeypatch.setattr(byte_ranges, "_STEP_BYTES", 10**6)
    blocks = list(read_blocks(Endless(), block_bytes=1000, max_line_bytes=5000))
    assert [(len(block.data), block.too_long) for block in blocks] == [(5000, True)]
