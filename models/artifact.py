"""A model file: its bytes, read once, hashed, and its format as told from the content."""

import hashlib
import io
import zipfile
from dataclasses import dataclass, field
from functools import cached_property

from .errors import ModelError

# How the files start that joblib.load takes: a pickle of protocol 2 or newer, or one compressed
# with zlib (at any level), gzip, bz2, xz, lzma or lz4.
_PICKLE_MAGIC = (
    b"\x80",
    b"\x78\x01",
    b"\x78\x5e",
    b"\x78\x9c",
    b"\x78\xda",
    b"\x1f\x8b",
    b"BZh",
    b"\xfd7zXZ",
    b"\x5d\x00\x00",
    b"\x04\x22\x4d\x18",
)


@dataclass(frozen=True)
class Artifact:
    """The bytes of a model file. What is hashed here is exactly what is loaded."""

    uri: str
    data: bytes = field(repr=False)

    @cached_property
    def sha256(self) -> str:
        """The hash of the bytes, 64 hexadecimal digits."""
        return hashlib.sha256(self.data).hexdigest()

    @property
    def name(self) -> str:
        """The file's name without folders and extension."""
        return self.uri.rstrip("/").rsplit("/", 1)[-1].rsplit(".", 1)[0]

    @cached_property
    def format(self) -> str:
        """`pickle` (joblib's compressed ones too) or `skops`, told from the content.

        Raises:
            ModelError: the content is none of these.
        """
        if not self.data:
            raise ModelError(f"model {self.uri} is empty (0 bytes)")
        if self._is_skops():
            return "skops"
        if self.data.startswith(_PICKLE_MAGIC):
            return "pickle"
        raise ModelError(
            f"model {self.uri} is no model that scoreline knows: it starts with "
            f"{self.data[:8]!r}. Expected a scikit-learn model saved as .joblib, .pkl or .skops."
        )

    def _is_skops(self) -> bool:
        if not self.data.startswith(b"PK"):
            return False
        try:
            with zipfile.ZipFile(io.BytesIO(self.data)) as archive:
                return "schema.json" in archive.namelist()
        except zipfile.BadZipFile:
            return False


def read_artifact(uri: str) -> Artifact:
    """Reads a model file from any Beam file system.

    Raises:
        ModelError: the file is missing or cannot be read.
    """
    from apache_beam.io.filesystem import CompressionTypes
    from apache_beam.io.filesystems import FileSystems

    try:
        with FileSystems.open(uri, compression_type=CompressionTypes.UNCOMPRESSED) as file:
            return Artifact(uri, file.read())
    except Exception as error:  # each file system raises its own
        raise ModelError(f"cannot read model {uri}: {error}") from error
