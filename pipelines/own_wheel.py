"""Packs the scoreline that runs here into a wheel, so that workers elsewhere have the very same."""

import base64
import hashlib
import zipfile
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import distribution
from pathlib import Path

from scoreline import __version__

_NAME = "scoreline"
_LAYERS = ("models", "transforms", "pipelines")
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the same bytes each time: what is staged already is found again
_WHEEL = "Wheel-Version: 1.0\nGenerator: scoreline\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def build_wheel(folder: Path) -> Path:
    """Writes a wheel of the package as it is imported here, installed or from a checkout.

    Args:
        folder: to write it to; it must be there.

    Returns:
        The wheel's path.
    """
    path = folder / f"{_NAME}-{__version__}-py3-none-any.whl"
    info = f"{_NAME}-{__version__}.dist-info"
    contents = dict(_modules())
    installed = distribution(_NAME)
    # In the folder of a checkout Python finds the egg-info first, which has another name for it.
    metadata = installed.read_text("METADATA") or installed.read_text("PKG-INFO") or ""
    contents[f"{info}/METADATA"] = metadata.encode()
    contents[f"{info}/WHEEL"] = _WHEEL.encode()
    entry_points = installed.read_text("entry_points.txt")
    if entry_points:
        contents[f"{info}/entry_points.txt"] = entry_points.encode()
    record = f"{info}/RECORD"
    lines = [f"{name},{_hash(data)},{len(data)}" for name, data in contents.items()]
    contents[record] = "\n".join([*lines, f"{record},,", ""]).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in contents.items():
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, data)
    return path


def _modules() -> Iterator[tuple[str, bytes]]:
    """(name in the wheel, content) of every file: the layers may lie in folders of their own."""
    roots = {_NAME: False} | {f"{_NAME}.{layer}": True for layer in _LAYERS}
    for package, is_deep in roots.items():
        (folder,) = map(Path, import_module(package).__path__)
        files = folder.rglob("*") if is_deep else folder.glob("*")
        for file in sorted(files):
            if file.suffix == ".py" or file.name == "py.typed":
                name = file.relative_to(folder).as_posix()
                yield f"{package.replace('.', '/')}/{name}", file.read_bytes()


def _hash(data: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest())
    return f"sha256={digest.rstrip(b'=').decode()}"
