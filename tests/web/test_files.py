"""Files: uploaded, referred to, listed, read whole and in ranges, deleted; never another account's."""

import io
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from flask import Flask
from sqlalchemy import Connection

from config.settings import Settings
from models.blobs import open_store, receiving
from models.database import Database
from models.errors import BlobGone
from models.keeping import Keeper
from models.repositories import files, holdings
from models.repositories.files import FileRow, NewFile
from models.repositories.holdings import Limits
from models.scope import RECONCILER
from tasks import collecting
from tests.web.conftest import Caller, Client, Front
from web import create_app
from web.services import EXTENSION

pytestmark = pytest.mark.stack

PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x10\0\0\0\x08\x08\2\0\0\0" + bytes(100)


def part(content: bytes, name: str, media_type: str | None = None) -> Any:
    return (io.BytesIO(content), name, media_type) if media_type else (io.BytesIO(content), name)


def upload(client: Client, content: bytes, name: str = "a", **more: Any) -> Any:
    media_type = more.pop("media_type", None)
    return client.post("/v1/files", data={"file": part(content, name, media_type), **more.pop("form", {})}, **more)


def fetch(client: Client, path: str, **more: Any) -> Any:
    return client.get(path, buffered=True, **more)


def kept(client: Client) -> tuple[int, int]:
    used = client.get("/v1/storage").json
    return used["bytes"], used["files"]


@pytest.fixture
def small(settings: Settings, account: Caller) -> Iterator[Client]:
    """The front with narrow limits."""
    app = create_app(
        settings.model_copy(update={"file_max_bytes": 1024, "storage_max_bytes": 2500, "storage_max_files": 4})
    )
    app.test_client_class = Client
    client = app.test_client()
    client.key = account.key  # type: ignore[attr-defined]
    yield client  # type: ignore[misc]
    app.extensions[EXTENSION].close()


def test_a_file_is_uploaded_described_downloaded_listed_and_deleted(client: Client) -> None:
    content = os.urandom(300_000)
    made = upload(client, content, "../dir/ünï code.bin")
    assert made.status_code == 201, made.json
    file = made.json
    assert (file["name"], file["size"], file["media_type"]) == ("ünï code.bin", 300_000, "application/octet-stream")
    assert client.get(made.headers["Location"]).json == file
    got = fetch(client, file["links"]["content"])
    assert (got.data, got.headers["Content-Length"], got.headers["Accept-Ranges"]) == (content, "300000", "bytes")
    assert got.headers["ETag"] == f'"{file["sha256"]}"'
    assert got.headers["Content-Disposition"].startswith('attachment; filename="_n_ code.bin"; filename*=UTF-8')
    assert "%C3%BCn%C3%AF%20code.bin" in got.headers["Content-Disposition"]
    assert got.headers["X-Content-Type-Options"] == "nosniff"
    assert got.headers.getlist("Content-Security-Policy")[0] == "sandbox"
    second = upload(client, b"named", form={"name": "other.txt"}).json
    assert second["name"] == "other.txt"
    first_page = client.get("/v1/files?limit=1").json
    assert first_page["files"] == [second]
    rest = client.get(f"/v1/files?cursor={first_page['next_cursor']}").json
    assert rest == {"files": [file], "next_cursor": None}
    assert client.get("/v1/files?name=other.txt").json["files"] == [second]
    assert client.delete(made.headers["Location"]).status_code == 204
    for path in (made.headers["Location"], file["links"]["content"]):
        assert client.get(path).status_code == 404
    assert client.delete(made.headers["Location"]).status_code == 404


def test_ranges_and_conditions_are_heeded(client: Client) -> None:
    file = upload(client, b"0123456789").json
    path = file["links"]["content"]

    def ask(**headers: str) -> Any:
        return fetch(
            client, path, headers={"X-API-Key": client.key, **{k.replace("_", "-"): v for k, v in headers.items()}}
        )

    for asked, given, place in (
        ("bytes=2-4", b"234", "bytes 2-4/10"), ("bytes=7-", b"789", "bytes 7-9/10"),
        ("bytes=-2", b"89", "bytes 8-9/10"), ("bytes=8-99", b"89", "bytes 8-9/10"),
    ):  # fmt: skip
        part = ask(Range=asked)
        assert (part.status_code, part.data, part.headers["Content-Range"]) == (206, given, place)
    beyond = ask(Range="bytes=10-")
    assert (beyond.status_code, beyond.json["code"]) == (416, "range_not_satisfiable")
    assert beyond.headers["Content-Range"] == "bytes */10"
    etag = f'"{file["sha256"]}"'
    assert ask(If_None_Match=etag).status_code == 304
    assert ask(Range="bytes=2-4", If_Range=etag).status_code == 206
    assert ask(Range="bytes=2-4", If_Range='"other"').data == b"0123456789"
    head = client.head(path, buffered=True)
    assert (head.headers["Content-Length"], head.data) == ("10", b"")


def test_types_are_told_by_bytes_and_wrong_ones_are_refused(client: Client) -> None:
    assert upload(client, PNG, "picture").json["media_type"] == "image/png"
    assert upload(client, b"a,b\n1,2\n", "t.csv").json["media_type"] == "text/csv"
    got = fetch(client, upload(client, b"<script>", "a.html", media_type="text/html").json["links"]["content"])
    assert got.headers["Content-Type"] == "text/html; charset=utf-8"
    refused = upload(client, b"MZ\x90\0\3\0\0\0", "a.png", media_type="image/png")
    assert (refused.status_code, refused.json["code"]) == (422, "media_type_mismatch")


def test_text_that_no_row_can_hold_finds_nothing(client: Client) -> None:
    for path in ("files?name=%00", "artifacts?q=%00", "projects?after=%00", "tasks?tag=%00"):
        assert client.get(f"/v1/{path}").status_code == 400, path
    project = client.post("/v1/projects", json={"name": "p"}).json["id"]
    assert client.get(f"/v1/projects/{project}/snapshots/1/files/a%00").status_code == 404


def test_what_is_no_upload_is_refused(client: Client) -> None:
    assert client.post("/v1/files", json={"a": 1}).status_code == 415
    for data, field in (
        ({"other": part(b"a", "a")}, "file"),
        ({"file": "text, not a file"}, "file"),
        ({"file": part(b"a", "a"), "second": part(b"b", "b")}, "file"),
        ({"file": part(b"a", "a"), "name": "line\nbreak"}, "name"),
        ({"file": part(b"a", "x" * 256)}, "name"),
    ):
        refused = client.post("/v1/files", data=data, content_type="multipart/form-data")
        assert (refused.status_code, refused.json["errors"][0]["field"]) == (422, field), data
    cut = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nhal'
    refused = client.post("/v1/files", data=cut, content_type="multipart/form-data; boundary=b")
    assert refused.status_code == 400
    assert kept(client) == (0, 0)


def test_files_above_the_limit_are_refused_and_leave_nothing(small: Client, held: Any) -> None:
    refused = upload(small, bytes(1025))
    assert (refused.status_code, refused.json["code"]) == (413, "file_too_large")
    assert upload(small, bytes(200_000)).status_code == 413
    assert kept(small) == (0, 0)
    assert upload(small, bytes(1024)).status_code == 201


def test_the_quota_counts_equal_bytes_once_and_is_freed_by_deleting(small: Client) -> None:
    first, second = upload(small, b"a" * 1000).json, upload(small, b"a" * 1000).json
    assert kept(small) == (1000, 2)
    assert upload(small, b"b" * 1000).status_code == 201
    refused = upload(small, b"c" * 1000)
    assert (refused.status_code, refused.json["code"]) == (403, "storage_quota_reached")
    assert kept(small) == (2000, 3)
    small.delete(f"/v1/files/{first['id']}")
    assert kept(small) == (2000, 2), "the other file has the same bytes"
    small.delete(f"/v1/files/{second['id']}")
    assert kept(small) == (1000, 1)
    assert upload(small, b"c" * 1000).status_code == 201


def test_the_quota_holds_when_many_upload_at_once(small: Client) -> None:
    def one(number: int) -> int:
        other = small.application.test_client()
        other.key = small.key  # type: ignore[attr-defined]
        return int(upload(other, bytes([number]) * 600).status_code)  # type: ignore[arg-type]

    with ThreadPoolExecutor(8) as pool:
        codes = sorted(pool.map(one, range(12)))
    assert codes == [201] * 4 + [403] * 8
    assert kept(small) == (2400, 4)


def test_a_file_refused_for_its_number_holds_no_bytes(small: Client) -> None:
    for number in range(4):
        upload(small, bytes([number]))
    assert upload(small, b"one more").status_code == 403
    assert kept(small) == (4, 4)


def test_a_file_can_be_kept_again_by_its_hash_without_sending_it(client: Client, other_account: Caller) -> None:
    file = upload(client, b"once", "a.md", media_type="text/markdown").json
    again = client.post("/v1/files/by-hash", json={"name": "b.md", "sha256": file["sha256"]})
    assert (again.status_code, again.json["media_type"], again.json["size"]) == (201, "text/markdown", 4)
    client.delete(f"/v1/files/{file['id']}")
    assert fetch(client, again.json["links"]["content"]).data == b"once"
    theirs = {"headers": other_account.headers}
    body = {"name": "c", "sha256": file["sha256"]}
    assert client.post("/v1/files/by-hash", json=body, **theirs).status_code == 404, "a hash alone gives nothing away"
    client.delete(f"/v1/files/{again.json['id']}")
    assert client.post("/v1/files/by-hash", json=body).status_code == 404
    assert client.post("/v1/files/by-hash", json={"name": "c", "sha256": "x"}).status_code == 422


def test_files_of_another_account_are_not_there(client: Client, other_account: Caller) -> None:
    file = upload(client, b"mine").json
    theirs = {"headers": other_account.headers}
    for method, path in (("get", ""), ("get", "/content"), ("delete", "")):
        assert getattr(client, method)(f"/v1/files/{file['id']}{path}", **theirs).status_code == 404
    assert client.get("/v1/files", **theirs).json["files"] == []
    assert client.get("/v1/storage", **theirs).json["bytes"] == 0
    same = upload(client, b"mine", **theirs).json
    client.delete(f"/v1/files/{file['id']}")
    assert fetch(client, same["links"]["content"], **theirs).data == b"mine", "they have a copy of their own"


def test_a_large_file_goes_through_gunicorn_in_pieces(front: Front, account: Caller, tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(os.urandom(1024 * 1024) * 12)  # more than max_body_bytes
    with path.open("rb") as file:
        made = front.post("/v1/files", account, files={"file": ("large", file)})
    assert made.status_code == 201, made.text
    got = front.get(made.json()["links"]["content"], account)
    assert got.content == path.read_bytes()
    chunked = (path.read_bytes()[:2048] for _ in range(1))
    refused = front.post("/v1/files", account, content=chunked, headers={"Content-Type": "text/plain"})
    assert refused.status_code == 415
    part = front.get(made.json()["links"]["content"], account, headers={"Range": "bytes=-5"})
    assert part.content == path.read_bytes()[-5:]
    assert isinstance(part, httpx.Response)


def test_a_task_may_name_files_of_its_account_only(client: Client, other_account: Caller) -> None:
    mine = upload(client, b"a,b").json["id"]

    def submit(file_id: str, **more: Any) -> Any:
        given = {"prompt": "sum", "files": [{"name": "note", "content": "x"}, {"name": "t", "file_id": file_id}]}
        return client.post("/v1/tasks", json={"workflow": "agent", "input": given}, **more)

    assert submit(mine).status_code == 202
    refused = submit(mine, headers=other_account.headers)
    assert (refused.status_code, refused.json["errors"][0]["field"]) == (422, "input.files[1].file_id")
    assert submit("no-id").status_code == 422


# Collecting


@pytest.fixture
def keeper(database: Database, settings: Settings) -> Keeper:
    return Keeper(database, open_store(settings), Limits(10**9, 100))


def blob_there(settings: Settings, sha256: str) -> bool:
    return (Path(settings.blob_store) / sha256[:2] / sha256[2:]).exists()


def test_only_bytes_that_nothing_refers_to_are_collected(
    client: Client, database: Database, settings: Settings, app: Flask
) -> None:
    store = open_store(settings)
    wanted, unwanted = upload(client, os.urandom(50)).json, upload(client, os.urandom(50)).json
    client.delete(f"/v1/files/{unwanted['id']}")
    collecting.release_idle(database, 0)
    collecting.delete_garbage(database, store)
    assert (blob_there(settings, wanted["sha256"]), blob_there(settings, unwanted["sha256"])) == (True, False)
    assert fetch(client, wanted["links"]["content"]).status_code == 200
    # PostgreSQL itself refuses to forget what is referred to, whatever code asks for it.
    for table in ("blobs", "account_blobs"):
        statement = f"DELETE FROM {table} WHERE sha256 = '{wanted['sha256']}'"
        with pytest.raises(BlobGone):
            database.run(lambda connection, asked=statement: connection.exec_driver_sql(asked))


def test_bytes_being_put_are_left_alone_until_their_grace_is_over(
    database: Database, settings: Settings, account: Caller, keeper: Keeper
) -> None:
    store = open_store(settings)
    with receiving(store, 100) as incoming:
        incoming.write(os.urandom(20))
        received = incoming.received()
        keeper.secure(account.scope, [received])
    collecting.release_idle(database, 3600)
    collecting.delete_garbage(database, store)
    assert blob_there(settings, received.sha256)
    collecting.release_idle(database, 0)
    collecting.delete_garbage(database, store)
    assert not blob_there(settings, received.sha256)
    assert database.run(lambda c: holdings.usage(c, account.scope)) == (0, 0)
    new = NewFile("a", "text/plain", received.size, received.sha256)
    with pytest.raises(BlobGone):
        database.run(lambda c: files.insert(c, account.scope, new, keeper.limits))


def test_bytes_collected_before_their_row_was_written_are_put_again(
    database: Database, settings: Settings, account: Caller, keeper: Keeper
) -> None:
    store, collected = open_store(settings), []

    def refer(connection: Connection) -> FileRow:
        if not collected:
            collecting.release_idle(database, 0)
            collecting.delete_garbage(database, store)
            collected.append(blob_there(settings, received.sha256))
        return files.insert(connection, account.scope, new, keeper.limits)

    with receiving(store, 100) as incoming:
        incoming.write(os.urandom(20))
        received = incoming.received()
        new = NewFile("a", "text/plain", received.size, received.sha256)
        keeper.keep(account.scope, [received], refer)
    assert collected == [False]
    assert blob_there(settings, received.sha256)
    assert not list(store.incoming.iterdir())


def test_uploads_of_one_content_survive_collectors_at_work(
    database: Database, settings: Settings, account: Caller, keeper: Keeper
) -> None:
    store, content = open_store(settings), os.urandom(100)

    def churn(_: int) -> UUID | None:
        for _ in range(6):
            with receiving(store, 1000) as incoming:
                incoming.write(content)
                got = incoming.received()
                new = NewFile("a", "text/plain", got.size, got.sha256)
                try:
                    row = keeper.keep(
                        account.scope, [got], lambda c, new=new: files.insert(c, account.scope, new, keeper.limits)
                    )
                except BlobGone:  # with no grace at all, collectors can win three times running
                    continue
            with store.open(row.sha256, row.size) as file:
                assert file.read() == content
            database.run(lambda c, mine=row.id: files.delete(c, account.scope, mine))
        return None

    def collect(_: int) -> None:
        for _ in range(15):
            collecting.release_idle(database, 0)
            collecting.delete_garbage(database, store)

    with ThreadPoolExecutor(6) as pool:
        futures = [pool.submit(churn, n) for n in range(4)] + [pool.submit(collect, n) for n in range(2)]
        for future in futures:
            future.result()
    collecting.release_idle(database, 0)
    assert database.run(lambda c: holdings.usage(c, account.scope)) == (0, 0)


def test_files_kept_long_enough_are_deleted_where_a_limit_is_set(
    client: Client, database: Database, account: Caller
) -> None:
    old, new = upload(client, b"old").json, upload(client, b"new").json
    aged = f"UPDATE files SET created_at = now() - interval '8 days' WHERE id = '{old['id']}'"
    database.run(lambda connection: connection.exec_driver_sql(aged))
    collecting.expire_files(database, 0)
    assert len(client.get("/v1/files").json["files"]) == 2
    collecting.expire_files(database, 7)
    assert client.get("/v1/files").json["files"] == [new]
    assert isinstance(collecting.collect(), int), "as beat asks for it"
    assert kept(client) == (3, 1)
    assert database.run(lambda c: files.old(c, RECONCILER, 7, 10)) == []
