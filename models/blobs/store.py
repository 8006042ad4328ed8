"""What every blob store can do. All of it blocks: call it beside an event loop, never on one."""

from pathlib import Path
from typing import BinaryIO, Protocol

from models.blobs.incoming import Received


class BlobStore(Protocol):
    """Keeps bytes under their SHA-256 (64 hex digits).

    Attributes:
        incoming: directory for bytes on their way in.
        on_disk: whether calls block the thread in the kernel, where no cooperative scheduler sees it.
    """

    incoming: Path
    on_disk: bool

    def put(self, received: Received) -> None:
        """Keep bytes; nothing happens if they are kept already. They survive a crash once this returns.

        Raises:
            errors.StoreUnavailable: the store can't take them now.
        """
        ...

    def open(self, sha256: str, size: int) -> BinaryIO:
        """Return the bytes as a file to read and seek in; `size` is their number.

        Raises:
            errors.StoreUnavailable: the store can't be reached, or has other or no bytes there.
        """
        ...

    def delete(self, sha256: str) -> None:
        """Delete bytes; nothing happens if they are not there.

        Raises:
            errors.StoreUnavailable: the store can't be reached.
        """
        ...

    def check(self) -> None:
        """Raise errors.StoreUnavailable unless the store can be used."""
        ...
