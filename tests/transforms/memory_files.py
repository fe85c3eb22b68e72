"""A file system in this process's memory, as strict as the strictest of Beam's: `memory://...`."""

import io

from apache_beam.io.filesystem import BeamIOError, FileMetadata, FileSystem


class MemoryFileSystem(FileSystem):
    files: dict[str, bytes] = {}  # noqa: RUF012  one store for all instances, as Beam makes many
    operations_left: float = float("inf")
    opened: list[io.BytesIO] = []  # noqa: RUF012

    @classmethod
    def clear(cls):
        cls.files.clear()
        cls.opened.clear()
        cls.operations_left = float("inf")

    @classmethod
    def _spend(cls):
        """Counts what changes the store; past the limit the process is as good as dead."""
        if cls.operations_left <= 0:
            raise OSError("the process was killed")
        cls.operations_left -= 1

    @classmethod
    def scheme(cls):
        return "memory"

    def join(self, basepath, *paths):
        return "/".join([basepath, *paths])

    def split(self, path):
        return tuple(path.rsplit("/", 1))

    def mkdirs(self, path):
        raise AssertionError("object stores have no folders")

    def has_dirs(self):
        return False

    def _list(self, dir_or_prefix):
        for path, content in sorted(self.files.items()):
            if path.startswith(dir_or_prefix):
                yield FileMetadata(path, len(content), 0)

    def create(self, path, mime_type=None, compression_type=None):
        return _New(self, path)

    def open(self, path, mime_type=None, compression_type=None):
        if path not in self.files:
            raise BeamIOError(f"no such file: {path}")
        file = io.BytesIO(self.files[path])
        self.opened.append(file)
        return file

    def copy(self, source_file_names, destination_file_names):
        for source, target in zip(source_file_names, destination_file_names, strict=True):
            assert source.startswith("memory://")
            assert target.startswith("memory://")
            if target in self.files:
                raise BeamIOError(f"exists: {target}")
            self._spend()
            self.files[target] = self.files[source]

    def rename(self, source_file_names, destination_file_names):
        raise NotImplementedError

    def exists(self, path):
        return path in self.files

    def size(self, path):
        return len(self.files[path])

    def last_updated(self, path):
        return 0

    def checksum(self, path):
        return ""

    def metadata(self, path):
        return FileMetadata(path, self.size(path), 0)

    def delete(self, paths):
        for path in paths:
            self._spend()
            if path not in self.files:
                raise BeamIOError(f"no such file: {path}")
            del self.files[path]


class _New(io.BytesIO):
    def __init__(self, system, path):
        super().__init__()
        self._system = system
        self._path = path

    def close(self):
        try:
            if not self.closed:
                self._system._spend()
                self._system.files[self._path] = self.getvalue()
        finally:
            super().close()
