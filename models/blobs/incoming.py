"""Bytes on their way in: hashed and counted while they are written to a file of their own."""

import hashlib
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from models.errors import FileTooLarge, StoreUnavailable

if TYPE_CHECKING:
    from models.blobs.store import BlobStore

#: The beginning of the bytes that is kept at hand, to tell their type by.
HEAD = 64 * 1024
_PREFIX = "incoming-"


@dataclass(frozen=True, slots=True)
class Received:
    """Bytes that have come in: the file they are in, their SHA-256 in hex, their number, and the first of them."""

    path: Path
    sha256: str
    size: int
    head: bytes


class Incoming:
    """A file being written; has what a parser of multipart bodies wants of one."""

    def __init__(self, directory: Path, most: int) -> None:
        descriptor, name = tempfile.mkstemp(prefix=_PREFIX, dir=directory)
        self.path = Path(name)
        self._file = os.fdopen(descriptor, "wb")
        self._most = most
        self._hash = hashlib.sha256()
        self._head = bytearray()
        self.size = 0

    def write(self, piece: bytes) -> int:
        """Take the next bytes.

        Raises:
            FileTooLarge: there are more than allowed.
            StoreUnavailable: the disk takes no more.
        """
        self.size += len(piece)
        if self.size > self._most:
            raise FileTooLarge(f"The file is larger than {self._most} bytes.")
        self._hash.update(piece)
        if (left := HEAD - len(self._head)) > 0:
            self._head += piece[:left]
        with disk_errors():
            return self._file.write(piece)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Do nothing: parsers go back to the beginning when they are through."""
        return offset

    def received(self) -> Received:
        """End the writing and say what has come in."""
        with disk_errors():
            self._file.close()
        return Received(self.path, self._hash.hexdigest(), self.size, bytes(self._head))

    def discard(self) -> None:
        """Remove the file; a store that took the bytes has them under a name of its own."""
        with suppress(OSError):
            self._file.close()
        self.path.unlink(missing_ok=True)


@contextmanager
def receiving(store: "BlobStore", most: int) -> Iterator[Incoming]:
    """Open a file for up to `most` bytes on their way into `store`; nothing of it is left behind.

    Raises:
        StoreUnavailable: the directory can't be written to.
    """
    with disk_errors():
        incoming = _incoming(store.incoming, most)
    try:
        yield incoming
    finally:
        incoming.discard()


def _incoming(directory: Path, most: int) -> Incoming:
    try:
        return Incoming(directory, most)
    except FileNotFoundError:
        directory.mkdir(parents=True, exist_ok=True)
        return Incoming(directory, most)


def abandoned(directory: Path, older_than_s: float) -> int:
    """Remove files that a killed process left on their way in; return how many."""
    since, count = time.time() - older_than_s, 0
    for path in directory.glob(f"{_PREFIX}*"):
        with suppress(FileNotFoundError):
            if path.stat().st_mtime < since:
                path.unlink()
                count += 1
    return count


@contextmanager
def disk_errors() -> Iterator[None]:
    """Turn the disk's refusals into ours; the message has no path in it."""
    try:
        yield
    except OSError as error:
        raise unusable(error) from error


def unusable(error: OSError) -> StoreUnavailable:
    """Return a disk's refusal as ours."""
    return StoreUnavailable(f"The store of files can't be used now ({error.strerror or type(error).__name__}).")
