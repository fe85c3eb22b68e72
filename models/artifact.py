"""A model file: its bytes, read once, and their hash."""

import hashlib
from dataclasses import dataclass, field
from functools import cached_property

from .errors import ModelError


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


def read_artifact(uri: str, max_bytes: int | None = None) -> Artifact:
    """Reads a model file from any Beam file system, once: it may change while we look at it.

    Raises:
        ModelError: the file is missing, cannot be read, or has more than `max_bytes`.
    """
    from apache_beam.io.filesystem import CompressionTypes
    from apache_beam.io.filesystems import FileSystems

    try:
        with FileSystems.open(uri, compression_type=CompressionTypes.UNCOMPRESSED) as file:
            data = file.read() if max_bytes is None else file.read(max_bytes + 1)
    except Exception as error:  # each file system raises its own
        raise ModelError(f"cannot read model {uri}: {error}") from error
    if max_bytes is not None and len(data) > max_bytes:
        raise ModelError(f"model {uri} has more than {max_bytes:,} bytes: it is not looked into")
    return Artifact(uri, data)
