"""The blob store as the front uses it: what waits for a disk waits on a thread, while other requests go on."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import gevent
from gevent import monkey

from models.blobs import BlobStore, Received

T = TypeVar("T")


class Cooperative:
    """A store on disk whose calls do not stop gevent's other greenlets; reading goes by short pieces and stays."""

    on_disk = False

    def __init__(self, store: BlobStore) -> None:
        self._store = store
        self.incoming: Path = store.incoming

    def put(self, received: Received) -> None:
        """Keep bytes; see `BlobStore`."""
        _beside(self._store.put, received)

    def open(self, sha256: str, size: int) -> BinaryIO:
        """Return a reading file; see `BlobStore`."""
        return self._store.open(sha256, size)

    def delete(self, sha256: str) -> None:
        """Delete bytes; see `BlobStore`."""
        _beside(self._store.delete, sha256)

    def check(self) -> None:
        """Raise StoreUnavailable unless the store can be used."""
        self._store.check()


def cooperative(store: BlobStore) -> BlobStore:
    """Return the store for this process; one that is reached over the network is cooperative already."""
    return Cooperative(store) if store.on_disk and monkey.is_module_patched("threading") else store


def beside(work: Callable[..., T], *arguments: Any) -> T:
    """Do what takes long without a halt of other requests: on a thread, where gevent is in use."""
    return _beside(work, *arguments) if monkey.is_module_patched("threading") else work(*arguments)


def _beside(work: Callable[..., T], *arguments: Any) -> T:
    result: T = gevent.get_hub().threadpool.apply(work, arguments)
    return result
