"""What tests of declared rows share: an app that can seal, a caller of it, and what is really in the tables."""

import base64
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from pydantic import SecretStr

from config.settings import Settings
from models.database import Database
from web import create_app
from web.services import EXTENSION

OLD, NEW = (base64.b64encode(bytes([number]) * 32).decode() for number in (1, 2))
#: A host beside the worker which the settings allow.
ALLOWED = "127.0.0.1:4711"


@pytest.fixture(scope="module")
def sealing(settings: Settings) -> Settings:
    return settings.model_copy(update={"secret_keys": SecretStr(OLD), "tool_http_hosts": [ALLOWED]})


@pytest.fixture(scope="module")
def app(sealing: Settings) -> Iterator[Flask]:
    app = create_app(sealing)
    yield app
    app.extensions[EXTENSION].close()


def kept(database: Database) -> str:
    """Everything in both tables, as text."""
    query = "SELECT row_to_json(p)::text FROM providers p UNION ALL SELECT row_to_json(m)::text FROM mcp_servers m"
    return str(database.read(lambda connection: connection.exec_driver_sql(query).all()))


def wrong(answer: Any) -> dict[str, str]:
    """The fields a 422 names, with what it says of them."""
    assert answer.status_code == 422, answer.text
    return {each["field"]: each["message"] for each in answer.json["errors"]}
