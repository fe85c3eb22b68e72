"""The few file operations that a run needs, on any Beam file system.

Locally a rename is atomic and replaces its target. On an object store it is a copy and a delete,
so whoever renames there must be able to do it again.
"""

import json
import os
import shutil
import uuid
from pathlib import Path
from typing import Any, cast

from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems


def is_local(path: str) -> bool:
    """Whether a path lies in the local file system."""
    return "://" not in path


def join(folder: str, *names: str) -> str:
    """Joins a folder and names below it with slashes.

    >>> join("gs://bucket/out/", "_run", "a.json")
    'gs://bucket/out/_run/a.json'
    """
    return "/".join([folder.rstrip("/") or "/", *names])


def exists(path: str) -> bool:
    """Whether there is a file (or, locally, a folder) of this name."""
    return Path(path).exists() if is_local(path) else bool(FileSystems.exists(path))


def list_files(folder: str) -> list[str]:
    """All files below a folder, sorted; none if there is no such folder."""
    if is_local(folder):
        found = (str(path) for path in Path(folder).rglob("*") if path.is_file())
        return sorted(found)
    results = FileSystems.match([join(folder, "**")])
    return sorted(metadata.path for result in results for metadata in result.metadata_list)


def make_folder(folder: str) -> None:
    """Makes a local folder with its parents; object stores have none."""
    if is_local(folder):
        Path(folder).mkdir(parents=True, exist_ok=True)


def read_json(path: str) -> dict[str, Any]:
    """Reads a JSON object."""
    with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as file:
        return cast(dict[str, Any], json.loads(file.read()))


def write_text(path: str, text: str) -> None:
    """Writes a small file so that a reader sees the old content or the new, never a part."""
    if is_local(path):
        make_folder(str(Path(path).parent))
        scratch = Path(f"{path}.{uuid.uuid4().hex}.tmp")
        with scratch.open("w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)
        return
    with FileSystems.create(path, compression_type=CompressionTypes.UNCOMPRESSED) as file:
        file.write(text.encode())


def write_json(path: str, value: dict[str, Any]) -> None:
    """Writes a JSON object as `write_text` does."""
    write_text(path, json.dumps(value, indent=2, default=str) + "\n")


def create(path: str) -> Any:
    """Opens a new binary file for writing."""
    if is_local(path):
        make_folder(str(Path(path).parent))
        return Path(path).open("wb")
    return FileSystems.create(path, compression_type=CompressionTypes.UNCOMPRESSED)


def move(source: str, target: str) -> None:
    """Renames a file over its target. Done once already, it does nothing.

    Raises:
        FileNotFoundError: there is neither a source nor a target.
    """
    if not exists(source):
        if exists(target):
            return
        raise FileNotFoundError(f"cannot make {target} final: {source} is gone")
    if is_local(source) and is_local(target):
        make_folder(str(Path(target).parent))
        Path(source).replace(target)
        return
    FileSystems.copy([source], [target])
    FileSystems.delete([source])


def remove(path: str) -> None:
    """Removes one file, if it is there."""
    if is_local(path):
        Path(path).unlink(missing_ok=True)
    elif exists(path):
        FileSystems.delete([path])


def remove_folder(folder: str) -> None:
    """Removes a folder and all below it, if it is there."""
    if is_local(folder):
        shutil.rmtree(folder, ignore_errors=True)
        return
    files = list_files(folder)
    if files:
        FileSystems.delete(files)
