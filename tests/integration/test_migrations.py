"""Migrations: equal to the models, harmless when run twice or twice at once, patient with nobody's locks."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import Connection, text

from config.settings import Settings
from local.home import temporary_home
from local.postgres import PostgresServer
from models.base import new_id
from models.database import Database, connect

pytestmark = pytest.mark.stack

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def fresh() -> Iterator[PostgresServer]:
    with temporary_home() as home, PostgresServer(home) as server:
        yield server


def alembic(server: PostgresServer, *arguments: str) -> "subprocess.Popen[str]":
    environment = os.environ | {"UMBEL_DATABASE_URL": server.url, "UMBEL_ENVIRONMENT": "development"}
    return subprocess.Popen(
        [sys.executable, "-m", "alembic", *arguments], cwd=ROOT, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def ended_well(process: "subprocess.Popen[str]") -> str:
    said, _ = process.communicate(timeout=90)
    assert process.returncode == 0, said
    return said


def test_migrating_three_times_two_of_them_at_once_gives_what_the_models_say(fresh: PostgresServer) -> None:
    together = [alembic(fresh, "upgrade", "head") for _ in range(2)]
    for process in together:
        ended_well(process)
    ended_well(alembic(fresh, "upgrade", "head"))
    assert "No new upgrade operations detected" in ended_well(alembic(fresh, "check"))


def test_tags_of_tasks_that_were_there_before_their_table_are_copied_once(fresh: PostgresServer) -> None:
    database = connect(Settings(environment="development", database_url=fresh.url), pool_size=1)
    ended_well(alembic(fresh, "downgrade", "base"))
    ended_well(alembic(fresh, "upgrade", "0001"))
    old, newer = (database.run(lambda connection: _task(connection, ["a", "b", "a"])) for _ in range(2))
    ended_well(alembic(fresh, "upgrade", "0002"))
    newest = database.run(lambda connection: _task(connection, ["b"]))  # as the version before submits it
    database.run(lambda connection: _task(connection, []))
    query = text("SELECT tag, task_id FROM task_tags ORDER BY tag, task_id")
    found = [tuple(row) for row in database.run(lambda connection: connection.execute(query).all())]
    database.close()
    assert found == [*(("a", each) for each in (old, newer)), *(("b", each) for each in (old, newer, newest))]
    ended_well(alembic(fresh, "upgrade", "head"))


def _task(connection: Connection, tags: list[str]) -> UUID:
    account = (
        "INSERT INTO accounts (id, name) VALUES (:id, 'old') "
        "ON CONFLICT (name) DO UPDATE SET plan = 'free' RETURNING id"
    )
    task = (
        "INSERT INTO tasks (id, account_id, run_id, workflow, status, input, tags) "
        "VALUES (:id, :account_id, :id, 'probe', 'failed', '{}', :tags) RETURNING id"
    )
    account_id = connection.execute(text(account), {"id": new_id()}).scalar_one()
    asked = {"id": new_id(), "account_id": account_id, "tags": tags}
    return connection.execute(text(task), asked).scalar_one()


def test_a_migration_gives_up_on_a_lock_instead_of_holding_everybody_up(fresh: PostgresServer) -> None:
    ended_well(alembic(fresh, "upgrade", "head"))
    settings = Settings(environment="development", database_url=fresh.url)
    database: Database = connect(settings, pool_size=1)
    with database.engine.connect() as connection:
        connection.execute(text("LOCK TABLE tasks IN ACCESS SHARE MODE"))
        process = alembic(fresh, "downgrade", "base")
        said, _ = process.communicate(timeout=60)
        assert process.returncode != 0
        assert "lock timeout" in said
    database.close()
    ended_well(alembic(fresh, "check"))
