"""Blobs in a directory: `ab/cdef…` for the SHA-256 `abcdef…`.

Bytes are written to a file beside, flushed to the disk and then named: whoever crashes leaves no half blob, and of two
who write the same content the second finds it there.
"""

import os
from pathlib import Path
from typing import BinaryIO

from models.blobs.incoming import Received, disk_errors, unusable
from models.errors import StoreUnavailable


class DiskStore:
    """A directory all processes of the stack share."""

    on_disk = True

    def __init__(self, root: Path) -> None:
        self._root = root
        self.incoming = root / "incoming"
        self._shards: set[str] = set()

    def put(self, received: Received) -> None:
        """Keep bytes; see `BlobStore`."""
        target = self._path(received.sha256)
        with disk_errors():
            self._shard(target.parent)
            if not _has(target, received.size):
                _flush(received.path)
                _name(received.path, target)
            # Also where another writer has just renamed it: this one promises, too, that it survives.
            _flush(target.parent)

    def open(self, sha256: str, size: int) -> BinaryIO:
        """Return a reading file; see `BlobStore`."""
        try:
            # No Path, which would cost more than the file; whoever asked closes it.
            file = open(f"{self._root}/{sha256[:2]}/{sha256[2:]}", "rb")  # noqa: SIM115
        except OSError as error:
            raise unusable(error) from error
        if os.fstat(file.fileno()).st_size != size:
            file.close()
            raise StoreUnavailable("The store of files is damaged: a file has another size than its row says.")
        return file

    def delete(self, sha256: str) -> None:
        """Delete bytes; see `BlobStore`."""
        with disk_errors():
            self._path(sha256).unlink(missing_ok=True)

    def check(self) -> None:
        """Raise StoreUnavailable unless the directory can be written to."""
        with disk_errors():
            self.incoming.mkdir(parents=True, exist_ok=True)
            if not os.access(self.incoming, os.W_OK):
                raise PermissionError(13, "it is not writable")

    def _path(self, sha256: str) -> Path:
        return self._root / sha256[:2] / sha256[2:]

    def _shard(self, directory: Path) -> None:
        if not self._shards:
            # Once the root is flushed, all that are there now survive, whoever made them.
            self._root.mkdir(parents=True, exist_ok=True)
            there = os.listdir(self._root)
            _flush(self._root)
            self._shards.update(there)
        if directory.name not in self._shards:
            directory.mkdir(parents=True, exist_ok=True)
            _flush(self._root)
            self._shards.add(directory.name)


def _has(path: Path, size: int) -> bool:
    try:
        return path.stat().st_size == size
    except FileNotFoundError:
        return False


def _name(path: Path, target: Path) -> None:
    """Give bytes a second name. They keep the first, so that they can be put again where a collector was faster."""
    between = path.with_name(f"{path.name}-named")  # a link replaces nothing, and renaming does
    os.link(path, between)
    between.replace(target)


def _flush(path: Path) -> None:
    """Have the disk write what the kernel holds of a file or directory."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
