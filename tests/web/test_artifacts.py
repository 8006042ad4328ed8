"""Artifacts over HTTP: listed, searched, read by version, previewed, deleted; never another account's."""

from typing import Any
from uuid import UUID

import pytest

from config.settings import Settings
from models.base import new_id
from models.blobs import open_store, receiving
from models.database import Database
from models.keeping import Keeper
from models.repositories import artifacts
from models.repositories.artifacts import NewVersion
from models.repositories.holdings import Limits
from models.scope import AccountScope
from tasks import collecting
from tests.web.conftest import Caller, Client

pytestmark = pytest.mark.stack


class Maker:
    """Writes versions as the engine does."""

    def __init__(self, database: Database, settings: Settings, scope: AccountScope) -> None:
        self.database, self.scope, self.store = database, scope, open_store(settings)

    def version(self, task_id: UUID, name: str, number: int, text: str, kind: str = "code") -> UUID:
        artifact_id = new_id()
        keeper = Keeper(self.database, self.store, Limits(10**9, 10))
        with receiving(self.store, 10**6) as incoming:
            incoming.write(text.encode())
            got = incoming.received()
            made = NewVersion(
                artifact_id, name, name, kind, number, f"artifact:{number}:{name}", "text/plain", got.size, got.sha256,
                {"text": text, "truncated": False}, text,
            )  # fmt: skip
            keeper.keep(self.scope, [got], lambda c: artifacts.insert(c, self.scope, task_id, task_id, [made]))
        return artifact_id


@pytest.fixture
def maker(database: Database, settings: Settings, account: Caller) -> Maker:
    return Maker(database, settings, account.scope)


@pytest.fixture
def task(client: Client) -> UUID:
    return UUID(client.submit().json["id"])


def names(answer: Any) -> list[str]:
    return [each["name"] for each in answer.json["artifacts"]]


def test_artifacts_are_listed_read_by_version_previewed_and_deleted(client: Client, maker: Maker, task: UUID) -> None:
    first = maker.version(task, "main.py", 1, "print(1)\n")
    maker.version(task, "main.py", 2, "print(22)\n")
    maker.version(task, "log", 1, "done", "terminal")
    other = client.submit().json["id"]
    maker.version(UUID(other), "else", 1, "x")
    path = f"/v1/artifacts/{first}"
    assert names(client.get(f"/v1/tasks/{task}/artifacts")) == ["log", "main.py"]
    assert names(client.get("/v1/artifacts?type=terminal")) == ["log"]
    page = client.get("/v1/artifacts?limit=2")
    assert names(page) == ["else", "log"]
    assert names(client.get(f"/v1/artifacts?cursor={page.json['next_cursor']}")) == ["main.py"]
    shown = client.get(path).json
    assert (shown["version"], shown["size"]) == (2, 10)
    assert [each["version"] for each in shown["versions"]] == [2, 1]
    assert client.get(shown["links"]["content"], buffered=True).data == b"print(22)\n"
    assert client.get(f"{path}/content?version=1", buffered=True).data == b"print(1)\n"
    assert client.get(f"{path}/content?version=3").status_code == 404
    assert client.get(f"{path}/preview?version=1").json == {"text": "print(1)\n", "truncated": False}
    assert client.get("/v1/artifacts?type=poem").status_code == 400
    before = client.get("/v1/storage").json["bytes"]
    assert client.delete(path).status_code == 204
    assert client.get("/v1/storage").json["bytes"] == before - 19
    assert client.get(path).status_code == client.delete(path).status_code == 404
    assert names(client.get("/v1/artifacts?q=print")) == []


def test_words_are_searched_over_the_account_and_within_a_task(client: Client, maker: Maker, task: UUID) -> None:
    maker.version(task, "a.md", 1, "whales swim")
    maker.version(UUID(client.submit().json["id"]), "whales.md", 1, "and dolphins")
    assert names(client.get("/v1/artifacts?q=whales")) == ["whales.md", "a.md"]
    assert names(client.get(f"/v1/tasks/{task}/artifacts?q=whales")) == ["a.md"]
    assert client.get("/v1/artifacts?q=").status_code == 400


def test_artifacts_of_another_account_are_not_there(
    client: Client, maker: Maker, task: UUID, other_account: Caller
) -> None:
    made, theirs = maker.version(task, "secret.md", 1, "whales"), {"headers": other_account.headers}
    for path in (
        f"/v1/tasks/{task}/artifacts",
        *(f"/v1/artifacts/{made}{rest}" for rest in ("", "/content", "/preview")),
    ):
        assert client.get(path, **theirs).status_code == 404, path
    assert client.delete(f"/v1/artifacts/{made}", **theirs).status_code == 404
    for query in ("", "?q=whales", f"?task_id={task}"):
        assert names(client.get(f"/v1/artifacts{query}", **theirs)) == []


def test_artifacts_kept_long_enough_are_deleted_where_a_limit_is_set(
    client: Client, maker: Maker, task: UUID, database: Database
) -> None:
    old = maker.version(task, "old", 1, "old")
    maker.version(task, "new", 1, "new")
    aged = f"UPDATE task_artifacts SET updated_at = now() - interval '8 days' WHERE id = '{old}'"
    database.run(lambda connection: connection.exec_driver_sql(aged))
    collecting.expire_artifacts(database, 0)
    collecting.expire_artifacts(database, 7)
    assert names(client.get("/v1/artifacts")) == ["new"]
    assert client.get("/v1/storage").json["bytes"] == 3
