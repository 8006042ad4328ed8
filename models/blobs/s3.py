"""Blobs in an S3-compatible service. Loaded only where the setting names one; credentials come as boto3 finds them:
`AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, a profile, or the machine's role.
"""

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

import boto3
from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from models.blobs.incoming import Received
from models.errors import StoreUnavailable

#: Short enough that a deletion has ended before PostgreSQL lets go of the row it is done under.
_LIMITS = {"connect_timeout": 3, "read_timeout": 8, "retries": {"total_max_attempts": 2}}
_NOT_THERE = frozenset({"404", "NoSuchKey", "NotFound"})


class S3Store:
    """A bucket, below a prefix."""

    on_disk = False

    def __init__(self, bucket: str, prefix: str, incoming: Path, endpoint: str | None) -> None:
        self._bucket = bucket
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._endpoint = endpoint
        self._made: Any = None
        self._making = threading.Lock()
        self.incoming = incoming

    @property
    def _client(self) -> Any:
        with self._making:  # made at first need; clients may be shared between threads, making them may not
            if self._made is None:
                config = Config(**_LIMITS, s3={"addressing_style": "path"} if self._endpoint else {})
                self._made = boto3.session.Session().client("s3", endpoint_url=self._endpoint, config=config)
            return self._made

    def put(self, received: Received) -> None:
        """Keep bytes; see `BlobStore`. The service makes them appear whole or not at all."""
        if self._size(received.sha256) == received.size:
            return
        whole = TransferConfig(use_threads=False)
        with _refusals():
            self._client.upload_file(str(received.path), self._bucket, self._key(received.sha256), Config=whole)

    def open(self, sha256: str, size: int) -> BinaryIO:
        """Return a file that asks for bytes as they are read; see `BlobStore`."""
        if self._size(sha256) != size:
            raise StoreUnavailable("The store of files is damaged: what a row refers to is not there.")
        return cast(BinaryIO, S3File(self._client, self._bucket, self._key(sha256), size))

    def delete(self, sha256: str) -> None:
        """Delete bytes; see `BlobStore`."""
        with _refusals():
            self._client.delete_object(Bucket=self._bucket, Key=self._key(sha256))

    def check(self) -> None:
        """Raise StoreUnavailable unless the bucket is there."""
        with _refusals():
            self._client.head_bucket(Bucket=self._bucket)

    def _key(self, sha256: str) -> str:
        return f"{self._prefix}{sha256[:2]}/{sha256[2:]}"

    def _size(self, sha256: str) -> int | None:
        try:
            with _refusals():
                return int(self._client.head_object(Bucket=self._bucket, Key=self._key(sha256))["ContentLength"])
        except StoreUnavailable as error:
            if error.detail.get("reason") in _NOT_THERE:
                return None
            raise


class S3File(io.RawIOBase):
    """An object as a file to read and seek in; seeking costs nothing until the next read."""

    def __init__(self, client: Any, bucket: str, key: str, size: int) -> None:
        self._client, self._bucket, self._key, self._size = client, bucket, key, size
        self._at = 0
        self._body: Any = None

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """Return where the next read begins."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to another place."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if base + offset != self._at:
            self._drop()
            self._at = base + offset
        return self._at

    def read(self, size: int = -1) -> bytes:
        """Return up to `size` bytes; all that is left by default.

        Raises:
            StoreUnavailable: the service went away.
        """
        if self._at >= self._size or size == 0:
            return b""
        with _refusals():
            if self._body is None:
                asked = f"bytes={self._at}-"
                self._body = self._client.get_object(Bucket=self._bucket, Key=self._key, Range=asked)["Body"]
            piece: bytes = self._body.read(None if size < 0 else size)
        self._at += len(piece)
        return piece

    def close(self) -> None:
        """Let go of the connection."""
        self._drop()
        super().close()

    def _drop(self) -> None:
        if self._body is not None:
            self._body.close()
            self._body = None


@contextmanager
def _refusals() -> Iterator[None]:
    """Turn the service's refusals into ours; its words are left out, they may quote a key."""
    try:
        yield
    except ClientError as error:
        reason = str(error.response.get("Error", {}).get("Code", "unknown"))
        raise StoreUnavailable(f"The store of files refused ({reason}).", reason=reason) from error
    except (BotoCoreError, Boto3Error, OSError) as error:
        raise StoreUnavailable(f"The store of files can't be reached ({type(error).__name__}).") from error
