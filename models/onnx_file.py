"""An ONNX file: how to tell one, what it holds, and what in it is refused. Nothing here runs it."""

from collections.abc import Iterator
from typing import Any

from .artifact import Artifact
from .errors import ModelError, UntrustedModelError
from .model_format import require
from .trust import Trust

# The fields of a ModelProto by number with their wire types, and those of its graph: onnx.proto.
_NUMBER, _BYTES = 0, 2
_MODEL_FIELDS = {
    **dict.fromkeys((1, 5), _NUMBER),
    **dict.fromkeys((2, 3, 4, 6, 7, 8, 14, 20, 25, 26), _BYTES),
}
_IR_VERSION, _GRAPH, _OPSETS = 1, 7, 8
_GRAPH_FIELDS = frozenset((1, 2, 5, 10, 11, 12, 13, 14, 15, 16))
_MAX_VARINT_BYTES = 10

# The operators that onnxruntime brings. Any other needs a library of somebody's machine code.
_DOMAINS = frozenset(
    (
        *("", "ai.onnx", "ai.onnx.ml", "ai.onnx.training", "ai.onnx.preview.training"),
        *("com.microsoft", "com.microsoft.nchwc", "com.microsoft.experimental"),
    )
)


def is_onnx(artifact: Artifact) -> bool:
    """Whether a file is an ONNX model, maybe one that was cut short.

    The fields are walked up to the graph; each must be one that an ONNX model has, of the right
    type. That takes no library, reads some bytes only, and random bytes do not get through.
    """
    seen: set[int] = set()
    for number, wire_type, content in _fields(memoryview(artifact.data)):
        if _MODEL_FIELDS.get(number) != wire_type:
            return False
        if number == _GRAPH and not _is_graph(content):
            return False
        seen.add(number)
        if _GRAPH in seen and seen & {_IR_VERSION, _OPSETS}:
            return True
    return False


def _is_graph(content: memoryview) -> bool:
    number, wire_type, _ = next(_fields(content), (0, 0, content))
    return number in _GRAPH_FIELDS and wire_type == _BYTES


def _fields(data: memoryview) -> Iterator[tuple[int, int, memoryview]]:
    """The fields of a protocol buffer: number, wire type, content. Ends where it is none."""
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        value, position = _varint(data, position)
        if tag <= 0 or value < 0 or tag & 7 not in (_NUMBER, _BYTES):
            return
        size = value if tag & 7 == _BYTES else 0
        yield tag >> 3, tag & 7, data[position : position + size]
        position += size


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    """A number and where it ends; -1 if there is none."""
    value = 0
    for shift, byte in enumerate(data[position : position + _MAX_VARINT_BYTES]):
        value |= (byte & 127) << 7 * shift
        if byte < 128:
            return value, position + shift + 1
    return -1, len(data)


def parse(artifact: Artifact) -> Any:
    """Parses a file into a `ModelProto`. That reads no other file and runs nothing.

    Raises:
        ModelError: it is broken, or the library is not there.
    """
    onnx = require("onnx", "onnx", artifact)
    try:
        model = onnx.ModelProto.FromString(artifact.data)
    except Exception as error:  # protobuf's own, of which each implementation has another
        raise damaged(artifact, error) from None
    if any(isinstance(text, bytes) for text in _texts(model)):
        raise damaged(artifact, "a name in it is no text")
    return model


def damaged(artifact: Artifact, why: Exception | str) -> ModelError:
    """The error for a file that is ONNX, but broken."""
    return ModelError(
        f"cannot load model {artifact.uri}: it starts as an ONNX file, but is cut short or "
        f"damaged ({why}). Copy or export it again."
    )


def _texts(model: Any) -> Iterator[Any]:
    """All names and the like; protobuf gives one that is no UTF-8 as bytes."""
    for message in _messages(model):
        for field, value in message.ListFields() if _kind(message) != "TensorProto" else ():
            if field.type == field.TYPE_STRING:
                yield from [value] if isinstance(value, str | bytes) else value


def check_self_contained(artifact: Artifact, trust: Trust) -> None:
    """Raises UntrustedModelError if a file wants others to be read or loaded, which it never may.

    A tensor may say that its data lies in another file, at any path that this process can read,
    or at an address of its memory. An operator may be one of a library of machine code.
    """
    del trust  # there is no reason to allow that: what is loaded would not be what was hashed
    check_parsed(artifact, parse(artifact))


def check_parsed(artifact: Artifact, model: Any) -> None:
    """See `check_self_contained`; for who has the parsed file at hand."""
    places = external_data(model)
    if places:
        raise UntrustedModelError(
            f"model {artifact.uri} refers to data outside of the file, at {_listed(places)}: only "
            "the bytes of the one file are loaded. Save it as one file: "
            "onnx.save_model(onnx.load(PATH), NEW_PATH)"
        )
    domains = custom_domains(model)
    if domains:
        raise UntrustedModelError(
            f"model {artifact.uri} needs operators of {_listed(domains)}, which onnxruntime does "
            "not have: libraries of custom operators are never loaded. Export it with standard "
            "operators."
        )


def external_data(model: Any) -> tuple[str, ...]:
    """Where tensors anywhere in a model say that their data lies, outside of the file."""
    places = []
    for message in _messages(model):
        if _kind(message) == "TensorProto" and (message.data_location or message.external_data):
            entries = {entry.key: entry.value for entry in message.external_data}
            places.append(entries.get("location", ""))
    return tuple(dict.fromkeys(places))


def custom_domains(model: Any) -> tuple[str, ...]:
    """The domains of operators that neither onnxruntime nor the file itself defines."""
    known = _DOMAINS | {function.domain for function in model.functions}
    used = {message.domain for message in _messages(model) if _kind(message) == "NodeProto"}
    return tuple(sorted(used - known))


def _messages(model: Any) -> Iterator[Any]:
    """A model and all that it holds, in sub-graphs and functions too; tensors are not entered."""
    todo = [model]
    while todo:
        message = todo.pop()
        yield message
        if _kind(message) != "TensorProto":  # its numbers are the bulk of the file
            for field, value in message.ListFields():
                if field.message_type is not None:
                    todo.extend([value] if hasattr(value, "DESCRIPTOR") else value)


def _kind(message: Any) -> str:
    name: str = message.DESCRIPTOR.name
    return name


def _listed(names: tuple[str, ...]) -> str:
    shown = ", ".join(repr(name) for name in names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more places"
