"""A database of its own whose clock a test sets.

All times are PostgreSQL's. A schema before `pg_catalog` in the search path holds functions of the same names as
PostgreSQL's clocks, so the product's statements, unchanged, read the time set here. Column defaults were bound when the
tables were made and keep the true time; nothing decides by them.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from alembic import command
from alembic.config import Config
from pydantic import SecretStr
from sqlalchemy import event
from sqlalchemy.engine import make_url

from config.settings import Settings, get_settings
from models.base import new_id
from models.database import Database, connect

START = datetime(2030, 1, 1, tzinfo=UTC)
SCHEMA = "fake_clock"
CLOCKS = ("now", "clock_timestamp", "statement_timestamp", "transaction_timestamp")
_CLOCK = f"""
CREATE FUNCTION {SCHEMA}.%s() RETURNS timestamptz LANGUAGE sql STABLE
AS $$ SELECT current_setting('umbel.fake_now')::timestamptz $$
"""
#: Nothing here survives a crash of the server, so no commit waits for the disk.
_SESSION = f"SET search_path = {SCHEMA}, pg_catalog, public; SET synchronous_commit = off"
_SET = "SELECT set_config('umbel.fake_now', %(now)s, false)"


class Clock:
    """The time every statement of `database` reads. It belongs to a connection, of which there is one at a time."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.now = START
        event.listen(database.engine, "connect", self._connected)

    def set(self, now: datetime) -> None:
        """Make it `now`."""
        self.now = now
        self.database.read(lambda connection: connection.exec_driver_sql(_SET, {"now": now.isoformat()}))

    def _connected(self, driver_connection: Any, _: Any) -> None:
        with driver_connection.cursor() as cursor:
            cursor.execute(_SESSION)
            cursor.execute(_SET, {"now": self.now.isoformat()})
        driver_connection.commit()


@contextmanager
def clocked_database(settings: Settings) -> Iterator[Clock]:
    """Make, migrate and give a database whose clock stands at `START`; drop it afterwards."""
    name = f"clocked_{new_id().hex}"
    with _administration(settings) as administration:
        administration.exec_driver_sql(f"CREATE DATABASE {name}")
        try:
            own = _settings_of(settings, name)
            _migrate(own)
            with _clocked(own) as clock:
                yield clock
        finally:
            administration.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def _clocked(settings: Settings) -> Iterator[Clock]:
    database = connect(settings, pool_size=1, application="umbel-clocked")
    try:
        database.run(_make_clocks)
        database.close()  # the next connection looks for clocks there first
        yield Clock(database)
    finally:
        database.close()


def _make_clocks(connection: Any) -> None:
    connection.exec_driver_sql(f"CREATE SCHEMA {SCHEMA}")
    for clock in CLOCKS:
        connection.exec_driver_sql(_CLOCK % clock)


@contextmanager
def _administration(settings: Settings) -> Iterator[Any]:
    database = connect(settings, pool_size=1)
    with database.engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        yield connection
    database.close()


def _settings_of(settings: Settings, name: str) -> Settings:
    url = make_url(settings.database_url.get_secret_value()).set(database=name)
    return settings.model_copy(update={"database_url": SecretStr(url.render_as_string(hide_password=False))})


def _migrate(settings: Settings) -> None:
    before = os.environ["UMBEL_DATABASE_URL"]
    os.environ["UMBEL_DATABASE_URL"] = settings.database_url.get_secret_value()
    get_settings.cache_clear()
    try:
        command.upgrade(Config("alembic.ini"), "head")
    finally:
        os.environ["UMBEL_DATABASE_URL"] = before
        get_settings.cache_clear()
