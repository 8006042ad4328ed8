"""Whether the database is at the newest migration, without starting alembic."""

from __future__ import annotations

from contextlib import closing

import psycopg2

from local.programs import ROOT

VERSIONS = ROOT / "models" / "migrations" / "versions"


def newest() -> str:
    """The newest revision: files are named `<revision>_<what>.py`, and revisions count up."""
    return max(path.name.split("_", maxsplit=1)[0] for path in VERSIONS.glob("[0-9]*_*.py"))


def migrated(database_url: str) -> bool:
    """Whether `database_url` is at the newest revision; any doubt is a no."""
    try:
        with closing(psycopg2.connect(database_url, connect_timeout=5)) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT version_num FROM alembic_version")
            return [row[0] for row in cursor.fetchall()] == [newest()]
    except psycopg2.Error:
        return False
