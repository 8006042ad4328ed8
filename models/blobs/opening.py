"""Which store the settings name."""

from pathlib import Path
from urllib.parse import urlsplit

from config.settings import Settings
from models.blobs.disk import DiskStore
from models.blobs.store import BlobStore


def open_store(settings: Settings) -> BlobStore:
    """Return the store of `UMBEL_BLOB_STORE`; it is not touched before it is used."""
    given = settings.blob_store
    if not given.startswith("s3://"):
        return DiskStore(Path(given) if given else settings.home / "blobs")
    from models.blobs.s3 import S3Store  # the SDK weighs 40 MB, and most need none of it

    place = urlsplit(given)
    return S3Store(place.netloc, place.path, settings.home / "incoming", settings.s3_endpoint or None)
