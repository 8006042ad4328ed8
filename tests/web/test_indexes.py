"""Whoever runs the system sees how the indexes of patterns stand, and has them built anew."""

from typing import Any

import pytest
from flask import Flask
from sqlalchemy import text

from config.settings import Settings
from models.base import new_id
from models.database import Database
from models.repositories import accounts
from models.scope import OPERATIONS
from tests.web.conftest import Client

pytestmark = pytest.mark.stack


@pytest.fixture
def operator(app: Flask, database: Database, settings: Settings) -> dict[str, str]:
    """Headers of a key with the scope `operations`."""
    pepper, name = settings.key_pepper.get_secret_value(), f"operators {new_id()}"

    def make(connection: Any) -> str:
        connection.execute(text("DELETE FROM index_builds"))
        scopes = (accounts.OPERATIONS_SCOPE,)
        return accounts.new_key(connection, OPERATIONS, name, "operator", "k", pepper, scopes=scopes)

    return {"Authorization": f"Bearer {database.run(make)}"}


def test_an_index_is_built_when_asked_for_and_once_for_all_who_ask(app: Flask, operator: dict[str, str]) -> None:
    client = app.test_client()
    first = client.post("/v1/indexes/vectors/build", headers=operator)
    again = client.post("/v1/indexes/vectors/build", headers=operator)
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json == again.json
    assert first.json | {"id": 0, "created_at": 0} == {
        "id": 0, "state": "queued", "done": 0, "total": 0, "embedder": "", "error": None, "created_at": 0,
        "ended_at": None,
    }  # fmt: skip
    stand = {each["index"]: each for each in client.get("/v1/indexes", headers=operator).json["indexes"]}
    assert stand["vectors"]["build"]["id"] == first.json["id"]
    assert stand["graph"]["build"] is None
    assert set(stand["graph"]) == {"index", "waiting", "oldest", "error", "build"}


def test_an_index_there_is_not_is_named(app: Flask, operator: dict[str, str]) -> None:
    answer = app.test_client().post("/v1/indexes/words/build", headers=operator)
    assert answer.status_code == 404


def test_other_keys_may_neither_look_nor_build(client: Client) -> None:
    for answer in (client.get("/v1/indexes"), client.post("/v1/indexes/vectors/build")):
        assert (answer.status_code, answer.json["code"]) == (403, "operations_only")
