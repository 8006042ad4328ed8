"""Migrations: equal to the models, harmless when run twice or twice at once, patient with nobody's locks."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from config.settings import Settings
from local.home import temporary_home
from local.postgres import PostgresServer
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
