r"""Says what is wrong with one JSON record: the strict, slow judge behind the fast decoders.

The judge is `orjson`, which refuses what other parsers let pass: NaN and Infinity, text after the
object, invalid UTF-8, lone surrogates, control characters in strings.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

MAX_JSON_DEPTH = 60  # far above real records; Arrow's streams end at 64, orjson at 1,024

_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"')
_SHOWN_CHARACTERS = 60  # of an offending value in a message


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a record is malformed."""

    code: str
    error_class: str
    message: str


class _Repeated(dict[str, Any]):
    """A JSON object that names a key more than once."""

    keys_twice: frozenset[str] = frozenset()


_OBJECTS: frozenset[type] = frozenset([*_Repeated.__mro__[:2]])  # _Repeated and dict


@dataclass(frozen=True, slots=True)
class _Kind:
    """What a JSON value must be for one Arrow type."""

    name: str
    classes: frozenset[type]
    low: int | None = None
    high: int | None = None
    item: _Kind | None = None
    members: tuple[tuple[str, _Kind], ...] = ()


def _kind(data_type: pa.DataType) -> _Kind:
    """Turns an Arrow type into what its JSON value must be."""
    if pa.types.is_struct(data_type):
        members = tuple((field.name, _kind(field.type)) for field in data_type)
        return _Kind("object", _OBJECTS, members=members)
    if pa.types.is_list(data_type):
        return _Kind("array", frozenset({list}), item=_kind(data_type.value_type))
    if pa.types.is_integer(data_type):
        signed = pa.types.is_signed_integer(data_type)
        low, high = (-(2**63), 2**63 - 1) if signed else (0, 2**64 - 1)
        return _Kind(str(data_type), frozenset({int}), low, high)
    if pa.types.is_floating(data_type):
        return _Kind("number", frozenset({int, float}))
    if pa.types.is_boolean(data_type):
        return _Kind("boolean", frozenset({bool}))
    if pa.types.is_string(data_type):
        return _Kind("string", frozenset({str}))
    raise TypeError(f"expected a type that JSON can hold, got {data_type}")


class RecordJudge:
    """Judges single JSON records against a schema of JSON's own types.

    Args:
        schema: int64, uint64, float64, bool, string, structs and lists of these. Members that
            the schema lacks are not looked at, beyond being valid JSON.
    """

    def __init__(self, schema: pa.Schema) -> None:
        self._kind = _kind(pa.struct(list(schema)))

    def fault(self, record: bytes) -> Fault | None:
        r"""Returns what is wrong with a record: its encoding, its syntax, its depth, its types.

        >>> RecordJudge(pa.schema({"a": pa.int64()})).fault(b'{"a": 1.5}').message
        "column 'a': expected int64, got number 1.5"
        """
        value = parse_record(record)
        return value if isinstance(value, Fault) else _mismatch(value, self._kind, None)

    def syntax_fault(self, record: bytes) -> Fault | None:
        """Returns what is wrong with a record's encoding, syntax or depth, at parsing speed."""
        value = parse_record(record)
        return value if isinstance(value, Fault) else None

    def repeated_key(self, record: bytes) -> Fault | None:
        """Returns the fault of a valid record that names one of the schema's columns twice."""
        if b"\\" not in record and record.count(b'"') == _num_quotes(orjson.loads(record)):
            return None  # a repeated key would be among the marks, but not in the value
        value = json.loads(record, object_pairs_hook=_object)
        path = _repetition(value, self._kind, None)
        if path is None:
            return None
        return Fault("duplicate_key", "ValueError", f"expected each key once, got {path!r} twice")


def parse_record(record: bytes) -> Any:
    """Parses one record; returns a Fault where it is not one valid JSON value."""
    try:
        value = orjson.loads(record)
    except orjson.JSONDecodeError as error:
        return _syntax_fault(record, error)
    if record.count(b"{") + record.count(b"[") > MAX_JSON_DEPTH and depth(record) > MAX_JSON_DEPTH:
        return _too_deep()
    return value


def _syntax_fault(record: bytes, error: orjson.JSONDecodeError) -> Fault:
    """Names the reason for which orjson refused a record."""
    name = type(error).__name__
    try:
        record.decode()
    except UnicodeDecodeError as utf8_error:
        return Fault("invalid_utf8", "UnicodeDecodeError", f"expected UTF-8, got {utf8_error}")
    if "depth limit" in str(error):
        return _too_deep()
    if "infinity" in str(error):
        return Fault(
            "number_out_of_range", name, f"expected a number that a double can hold: {error}"
        )
    return Fault("malformed_json", name, f"expected one JSON object, got an error: {error}")


def _too_deep() -> Fault:
    return Fault(
        "too_deep", "ValueError", f"expected at most {MAX_JSON_DEPTH} nested levels, got more"
    )


def depth(record: bytes) -> int:
    r"""Returns how many objects and arrays lie inside each other, for valid JSON.

    >>> depth(b'{"a": [1, {"b": "[[["}]}')
    3
    """
    data = np.frombuffer(_STRING.sub(b"", record), np.uint8) | 0x20  # [ ] become { }
    opened = (data == ord("{")).astype(np.int32) - (data == ord("}")).astype(np.int32)
    return int(opened.cumsum().max(initial=0))


def _mismatch(value: Any, kind: _Kind, path: str | None) -> Fault | None:
    """Returns the first value that does not have its column's type."""
    if value is None and path is not None:
        return None
    if type(value) not in kind.classes:
        return _wrong_type(value, kind, path)
    if kind.low is not None and kind.high is not None and not kind.low <= value <= kind.high:
        return _out_of_range(value, kind, path)
    if kind.item is not None:
        faults = (
            _mismatch(item, kind.item, f"{path}[{index}]") for index, item in enumerate(value)
        )
        return next((fault for fault in faults if fault), None)
    for name, member in kind.members:
        fault = _mismatch(value.get(name), member, name if path is None else f"{path}.{name}")
        if fault:
            return fault
    return None


def _wrong_type(value: Any, kind: _Kind, path: str | None) -> Fault:
    if kind.low is not None and isinstance(value, float) and abs(value) >= 2**63:
        return _out_of_range(value, kind, path)
    where = "" if path is None else f"column {path!r}: "
    shown = orjson.dumps(value).decode()[:_SHOWN_CHARACTERS]
    return Fault(
        "wrong_type", "TypeError", f"{where}expected {kind.name}, got {_json_name(value)} {shown}"
    )


def _out_of_range(value: Any, kind: _Kind, path: str | None) -> Fault:
    message = f"column {path!r}: expected {kind.name} from {kind.low} to {kind.high}, got {value}"
    return Fault("number_out_of_range", "OverflowError", message)


def _json_name(value: Any) -> str:
    names = {dict: "object", list: "array", str: "string", bool: "boolean", type(None): ""}
    return names.get(type(value), "number")


def _num_quotes(value: Any) -> int:
    """Returns how many quotation marks the text of a value has, if it escapes nothing."""
    if type(value) is dict:
        return 2 * len(value) + sum(_num_quotes(inner) for inner in value.values())
    if type(value) is list:
        return sum(_num_quotes(inner) for inner in value)
    return 2 if type(value) is str else 0


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Builds an object that remembers keys which came twice."""
    value = dict(pairs)
    if len(value) == len(pairs):
        return value
    repeated = _Repeated(pairs)
    counts = Counter(name for name, _ in pairs)
    repeated.keys_twice = frozenset(name for name, count in counts.items() if count > 1)
    return repeated


def _repetition(value: Any, kind: _Kind, path: str | None) -> str | None:
    """Returns the path of the first column that comes twice."""
    if isinstance(value, list) and kind.item is not None:
        found = (_repetition(item, kind.item, path) for item in value)
        return next((path for path in found if path is not None), None)
    if not isinstance(value, dict):
        return None
    for name, member in kind.members:
        inner = name if path is None else f"{path}.{name}"
        if isinstance(value, _Repeated) and name in value.keys_twice:
            return inner
        found_path = _repetition(value.get(name), member, inner)
        if found_path is not None:
            return found_path
    return None
