"""Blob stores keep bytes under their hash: once, whole or not at all. The same on a disk and on an S3."""

import hashlib
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from config.settings import Settings
from models.blobs import BlobStore, Received, open_store, receiving
from models.blobs.incoming import abandoned
from models.errors import FileTooLarge, StoreUnavailable


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """An S3 with a bucket `umbel`; its URL."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("ACCESS_KEY_ID", "k"), ("SECRET_ACCESS_KEY", "s"), ("DEFAULT_REGION", "us-east-1")):
            patch.setenv(f"AWS_{name}", value)
        url = f"http://{host}:{port}"
        boto3.client("s3", endpoint_url=url).create_bucket(Bucket="umbel")
        yield url
    server.stop()


@pytest.fixture(params=["disk", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> BlobStore:
    given = {"blob_store": str(tmp_path / "blobs")}
    if request.param == "s3":
        place = f"s3://umbel/{tmp_path.name}"
        given = {"blob_store": place, "s3_endpoint": request.getfixturevalue("s3"), "home": str(tmp_path)}
    return open_store(Settings(environment="development", **given))


def put(store: BlobStore, content: bytes) -> Received:
    with receiving(store, 10_000_000) as incoming:
        for start in range(0, len(content), 1000):
            incoming.write(content[start : start + 1000])
        received = incoming.received()
        store.put(received)
    return received


def read(store: BlobStore, received: Received) -> bytes:
    with store.open(received.sha256, received.size) as file:
        return file.read()


def test_what_was_put_is_read_back_by_its_hash(store: BlobStore) -> None:
    store.check()
    content = os.urandom(100_000)
    received = put(store, content)
    assert received.sha256 == hashlib.sha256(content).hexdigest()
    assert (received.size, received.head) == (100_000, content[: 64 * 1024])
    assert read(store, received) == content
    with store.open(received.sha256, received.size) as file:
        file.seek(99_990)
        assert (file.read(5), file.tell(), file.read()) == (content[99_990:99_995], 99_995, content[99_995:])
        assert file.read() == b""
    assert read(store, put(store, b"")) == b""


def test_equal_bytes_are_kept_once_and_deleting_twice_does_nothing(store: BlobStore) -> None:
    first, second = put(store, b"same"), put(store, b"same")
    assert first.sha256 == second.sha256
    store.delete(first.sha256)
    store.delete(first.sha256)
    with pytest.raises(StoreUnavailable):
        store.open(first.sha256, first.size)
    assert read(store, put(store, b"same")) == b"same", "it can be put again"
    assert list(store.incoming.iterdir()) == []


def test_many_writers_of_one_content_leave_it_whole(store: BlobStore) -> None:
    content, errors = os.urandom(50_000), []

    def write() -> None:
        try:
            put(store, content)
        except Exception as error:
            errors.append(error)

    writers = [threading.Thread(target=write) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert errors == []
    assert read(store, Received(Path(), hashlib.sha256(content).hexdigest(), 50_000, b"")) == content


def test_a_writer_that_dies_leaves_nothing_half_and_its_draft_is_swept(tmp_path: Path) -> None:
    store = open_store(Settings(environment="development", blob_store=str(tmp_path)))
    child = os.fork()
    if child == 0:
        with receiving(store, 1000) as incoming:
            incoming.write(b"half")
            incoming.received()
            os._exit(9)
    os.waitpid(child, 0)
    assert [path.name for path in tmp_path.iterdir()] == ["incoming"], "no blob was begun"
    assert abandoned(store.incoming, 60) == 0, "it may still be written to"
    (draft,) = store.incoming.iterdir()
    os.utime(draft, (time.time() - 100,) * 2)
    assert (abandoned(store.incoming, 60), list(store.incoming.iterdir())) == (1, [])


def test_more_than_allowed_is_refused_and_nothing_is_left(store: BlobStore) -> None:
    with receiving(store, 10) as incoming:
        incoming.write(b"12345")
        with pytest.raises(FileTooLarge, match="10 bytes"):
            incoming.write(b"678901")
    assert list(store.incoming.iterdir()) == []


def test_bytes_of_another_length_than_the_row_says_are_not_handed_out(tmp_path: Path) -> None:
    store = open_store(Settings(environment="development", blob_store=str(tmp_path)))
    received = put(store, b"whole")
    (tmp_path / received.sha256[:2] / received.sha256[2:]).write_bytes(b"who")
    with pytest.raises(StoreUnavailable, match="damaged"):
        store.open(received.sha256, received.size)
    assert read(store, put(store, b"whole")) == b"whole", "and putting them again mends it"


def test_a_store_that_is_not_there_says_so_without_its_secrets(tmp_path: Path, s3: str) -> None:
    nowhere = tmp_path / "file"
    nowhere.write_text("")
    given = {"environment": "development", "home": tmp_path}
    missing = Settings(**given, blob_store="s3://nothing-here", s3_endpoint=s3)
    for settings in (Settings(**given, blob_store=str(nowhere)), missing):
        with pytest.raises(StoreUnavailable) as refused:
            open_store(settings).check()
        assert str(tmp_path) not in str(refused.value)
