import bz2
import gzip
import io

import pyarrow as pa
import pytest

from scoreline.transforms.formats.compressed_text import (
    CorruptInputError,
    TruncatedInputError,
    compression_of,
    open_compressed,
)

TEXT = b"".join(b"line %d\n" % i for i in range(200_000))
COMPRESS = {
    "gz": gzip.compress,
    "zst": lambda data: pa.compress(data, "zstd", asbytes=True),
    "bz2": bz2.compress,
}


@pytest.mark.parametrize("extension", COMPRESS)
def test_members_are_one_text(extension: str) -> None:
    data = COMPRESS[extension](TEXT) + COMPRESS[extension](b"last")
    with open_compressed(io.BytesIO(data), f"a.csv.{extension}") as stream:
        assert stream.read() == TEXT + b"last"
    assert open_compressed(io.BytesIO(data), "a.csv").readline() == b"line 0\n"
    assert open_compressed(io.BytesIO(b""), f"a.{extension}").read() == b""


@pytest.mark.parametrize("extension", COMPRESS)
@pytest.mark.parametrize("left", [3, -5])
def test_a_cut_is_told_after_what_came_before(extension: str, left: int) -> None:
    stream = open_compressed(io.BytesIO(COMPRESS[extension](TEXT)[:left]), f"a.csv.{extension}")
    with pytest.raises(TruncatedInputError, match=rf"a\.csv\.{extension} is cut short: its"):
        stream.read()


@pytest.mark.parametrize("extension", COMPRESS)
def test_damage_is_told(extension: str) -> None:
    with pytest.raises(CorruptInputError, match=rf"a\.{extension} is no sound"):
        open_compressed(io.BytesIO(b"a,b\n1,2\n" * 9), f"a.{extension}").read()
    data = bytearray(COMPRESS[extension](TEXT))
    data[-6] ^= 0xFF
    if extension != "zst":  # its frames carry no checksum by default
        with pytest.raises(CorruptInputError):
            open_compressed(io.BytesIO(bytes(data)), f"a.{extension}").read()


def test_plain_text_stays_and_closing_closes() -> None:
    file = io.BytesIO(b"BZh,column\n1,2\n")
    stream = open_compressed(file, "a.csv")
    assert stream.read() == b"BZh,column\n1,2\n"
    stream.close()
    packed = io.BytesIO(gzip.compress(b"x"))
    open_compressed(packed, "a.gz").close()
    assert file.closed
    assert packed.closed


def test_an_error_of_the_file_itself_is_not_renamed() -> None:
    class Broken(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def readinto(self, buffer: object) -> int:
            raise OSError(5, "the disk failed")

    with pytest.raises(OSError, match="the disk failed") as error:
        open_compressed(Broken(), "a.gz").read()
    assert not isinstance(error.value, CorruptInputError)


def test_compression_of() -> None:
    assert [compression_of(f"gs://b/a.{e}") for e in ("gz", "zst", "bz2", "csv")] == [
        "gzip",
        "zstd",
        "bz2",
        None,
    ]
