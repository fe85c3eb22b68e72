"""What a pickle would import and make, found out without importing or making any of it.

It is Python's own unpickler, which looks every class and function up through one method,
`find_class`: there each becomes an inert `Thing`. joblib writes arrays between the opcodes; they
are skipped as joblib's own reader does it.

Inert is not harmless: a pickle can be nested so deep, or unpack to so much, that reading it
exhausts the process. So this runs in a process of its own, with bounds (`probe.py`).
"""

import bz2
import gzip
import io
import lzma
import pickle
import re
import zlib
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np

# Unpacked, for a file of any size: well beyond models that anybody loads in memory.
_MAX_BYTES = 16 * 2**30
_CHUNK_BYTES = 2**20
_MAX_VALUES = 10_000  # of an array that is worth reading: names and classes, not weights
_JOBLIB_ARRAY = "joblib.numpy_pickle.NumpyArrayWrapper"
_NUMPY_TYPE = re.compile(r"[biufcSUVmM]\d+|\?")
_PYTHON_2_PROTOCOLS = 3  # pickles of a lower one may name modules as Python 2 did


class Thing:
    """Stands for whatever a pickle makes: the class or function, its arguments, its state."""

    __slots__ = ("args", "items", "path", "state")

    def __new__(cls, *args: Any, **kwargs: Any) -> "Thing":
        """Also what an opcode calls as `cls.__new__(cls, *args)`, with a thing for the class."""
        given: Any = cls
        if isinstance(given, Thing):
            return given(*args, **kwargs)
        return object.__new__(cls)

    def __init__(self, path: str, args: tuple[Any, ...] = ()):
        self.path = path
        self.args = args
        self.state: Any = None
        self.items: list[Any] = []

    def __call__(self, *args: Any, **_: Any) -> "Thing":
        """What calling it would make."""
        return Thing(self.path, args)

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def append(self, item: Any) -> None:
        """What an opcode calls to fill a list."""
        self.items.append(item)

    def add(self, item: Any) -> None:
        """What an opcode calls to fill a set."""
        self.items.append(item)

    def __setitem__(self, key: Any, value: Any) -> None:
        self.items.append((key, value))


@dataclass(frozen=True)
class Array:
    """An array: its shape, and its values where it is short and flat."""

    shape: tuple[int, ...]
    values: list[Any] | None


@dataclass
class Scan:
    """What reading a pickle found.

    Attributes:
        imports: what loading it would import, as `module.name`, each once, in order.
        top: what it makes: values, and `Thing`s and `Array`s for all else; None if it broke off.
        problem: why it broke off, if it did: what would be imported after that is not known.
    """

    imports: dict[str, None] = field(default_factory=dict)
    top: Any = None
    problem: str | None = None


def scan_pickle(data: bytes) -> Scan:
    """Reads a pickle, compressed or not, as `joblib.load` would."""
    scan = Scan()
    try:
        stream = io.BufferedReader(_Bounded(_unpacked(data)))
        scan.top = _JoblibScanner(stream, scan).load()
    except MemoryError:
        scan.problem = "what it unpacks to does not fit in the memory that is allowed here"
    except Exception as error:  # whatever a file provokes
        scan.problem = f"{type(error).__name__}: {error}"
    return scan


# The one that joblib extends too; its typing knows no more than that of the one in C.
_Unpickler: Any = pickle._Unpickler


class _Scanner(_Unpickler):  # type: ignore[misc]
    def __init__(self, stream: BinaryIO, scan: Scan):
        super().__init__(stream)
        self._stream = stream
        self._scan = scan

    def find_class(self, module: str, name: str) -> Thing:
        """Notes what would be imported, and imports nothing."""
        if self.proto < _PYTHON_2_PROTOCOLS:
            module, name = NAME_MAPPING.get((module, name), (module, name))
            module = IMPORT_MAPPING.get(module, module)
        path = f"{module}.{name}"
        self._scan.imports[path] = None
        return Thing(path)


class _JoblibScanner(_Scanner):
    dispatch = _Unpickler.dispatch.copy()

    def load_build(self) -> None:
        """As joblib's own: behind the description of an array stand its bytes."""
        super().load_build()
        wrapper = self.stack[-1]
        if isinstance(wrapper, Thing) and wrapper.path == _JOBLIB_ARRAY:
            self.stack[-1] = self._read_array(dict(wrapper.state))

    dispatch[pickle.BUILD[0]] = load_build

    def _read_array(self, described: dict[str, Any]) -> Array:
        shape = tuple(int(length) for length in described["shape"])
        dtype = described["dtype"]
        if _holds_objects(dtype):
            array = array_of(_Scanner(self._stream, self._scan).load())
            return array or Array(shape, None)
        if described.get("numpy_array_alignment_bytes") is not None:
            self._stream.read(self._stream.read(1)[0])
        numpy_type = _numpy_type(dtype)
        num_values = int(np.prod(shape, dtype=object)) if shape else 1
        num_bytes = num_values * numpy_type.itemsize
        if num_values > _MAX_VALUES or len(shape) != 1:
            _skip(self._stream, num_bytes)
            return Array(shape, None)
        return Array(shape, _values(self._stream.read(num_bytes), numpy_type))


def array_of(value: Any) -> Array | None:
    """The array that a thing stands for, in the ways in which numpy pickles one; else None."""
    if isinstance(value, Array) or not isinstance(value, Thing):
        return value if isinstance(value, Array) else None
    try:
        if value.path.endswith("multiarray._reconstruct"):
            _, shape, dtype, _, content = value.state
        elif value.path.endswith("numeric._frombuffer"):
            content, dtype, shape, _ = value.args
        else:
            return None
        shape = tuple(int(length) for length in shape)
        if len(shape) != 1 or shape[0] > _MAX_VALUES:
            return Array(shape, None)
        is_list = isinstance(content, list)
        return Array(shape, content if is_list else _values(content, _numpy_type(dtype)))
    except (TypeError, ValueError):  # a crafted one may hold anything
        return None


def scalar_of(value: Any) -> Any:
    """The number that a thing stands for, if it is one of numpy's; else the value itself."""
    if isinstance(value, Thing) and value.path.endswith("multiarray.scalar"):
        try:
            dtype, content = value.args
            return _values(content, _numpy_type(dtype))[0]
        except (TypeError, ValueError, IndexError):
            return value
    return value


def _holds_objects(dtype: Any) -> bool:
    """Whether joblib pickles the array rather than writing its bytes."""
    name = _type_name(dtype)
    if name.startswith("O"):
        return True
    flags = dtype.state[7] if isinstance(dtype.state, tuple) and len(dtype.state) > 7 else 0
    return bool(name.startswith("V") and int(flags) & 1)


def _type_name(dtype: Any) -> str:
    if not (isinstance(dtype, Thing) and dtype.args and isinstance(dtype.args[0], str)):
        raise ValueError("an array of a type that is not known")
    return dtype.args[0]


def _numpy_type(dtype: Any) -> np.dtype:
    name = _type_name(dtype)
    if not _NUMPY_TYPE.fullmatch(name):
        raise ValueError(f"an array of the type {name!r}, which is not known")
    is_big_endian = isinstance(dtype.state, tuple) and dtype.state[1:2] == (">",)
    return np.dtype((">" if is_big_endian else "<") + name)


def _values(content: Any, dtype: np.dtype) -> list[Any]:
    if isinstance(content, Thing) and content.path == "_codecs.encode":  # as old protocols do
        content = content.args[0].encode("latin1")
    return np.frombuffer(bytes(content), dtype).tolist()


def _skip(stream: BinaryIO, num_bytes: int) -> None:
    while num_bytes > 0:
        read = len(stream.read(min(num_bytes, _CHUNK_BYTES)))
        if not read:
            raise EOFError("the file ends within an array")
        num_bytes -= read


def _unpacked(data: bytes) -> BinaryIO:
    """The plain bytes behind what joblib compresses with, one piece at a time."""
    for magic, opener in _OPENERS:
        if data.startswith(magic):
            return opener(io.BytesIO(data))
    return io.BytesIO(data)


def _open_lz4(stream: BinaryIO) -> BinaryIO:
    try:
        import lz4.frame
    except ImportError as error:
        raise ValueError("to look into a file that lz4 compressed, pip install lz4") from error
    opened: BinaryIO = lz4.frame.open(stream)
    return opened


class _Zlib(io.RawIOBase):
    def __init__(self, stream: BinaryIO):
        self._stream = stream
        self._unpacker = zlib.decompressobj()

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Unpacks no more than was asked for."""
        while not self._unpacker.eof:
            packed = self._unpacker.unconsumed_tail or self._stream.read(_CHUNK_BYTES)
            plain = self._unpacker.decompress(packed, len(buffer))
            if plain:
                buffer[: len(plain)] = plain
                return len(plain)
            if not packed:
                raise EOFError("the compressed file is cut short")
        return 0


class _Bounded(io.RawIOBase):
    """Passes a stream on, up to so many bytes."""

    def __init__(self, stream: BinaryIO):
        self._stream = stream
        self._left = _MAX_BYTES

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Raises OverflowError instead of reading beyond the bound."""
        plain = self._stream.read(len(buffer))
        self._left -= len(plain)
        if self._left < 0:
            raise OverflowError(f"it unpacks to more than {_MAX_BYTES:,} bytes")
        buffer[: len(plain)] = plain
        return len(plain)


_OPENERS: tuple[tuple[bytes, Callable[[BinaryIO], Any]], ...] = (
    (b"\x78", lambda stream: io.BufferedReader(_Zlib(stream))),
    (b"\x1f\x8b", lambda stream: gzip.GzipFile(fileobj=stream)),
    (b"BZh", bz2.BZ2File),
    (b"\xfd7zXZ", lzma.LZMAFile),
    (b"\x5d\x00", lzma.LZMAFile),
    (b"\x04\x22\x4d\x18", _open_lz4),
)
