"""The short cut past alembic must never be taken wrongly."""

from alembic.config import Config
from alembic.script import ScriptDirectory

from local import migrations
from local.postgres import PostgresServer


def test_the_newest_revision_is_alembics_head() -> None:
    assert migrations.newest() == ScriptDirectory.from_config(Config("alembic.ini")).get_current_head()


def test_a_migrated_database_is_known_and_any_other_is_not(postgres_url: str, postgres_server: PostgresServer) -> None:
    assert migrations.migrated(postgres_url)
    assert not migrations.migrated(postgres_server.admin_url)
    assert not migrations.migrated("postgresql://nobody@127.0.0.1:1/none")
