"""Runs migrations safely beside live workers: one at a time, with lock and statement timeouts."""

from alembic import context
from sqlalchemy import text

import models.accounts
import models.agents
import models.artifacts
import models.declared
import models.events
import models.files
import models.http_tools
import models.indexing
import models.memory
import models.outbox
import models.passages
import models.pattern_credit
import models.patterns
import models.sandboxes
import models.sessions
import models.tasks  # noqa: F401
from config.settings import get_settings
from models.base import Base
from models.database import connect

#: A migration that can't get its lock soon gives up instead of queueing every other statement behind it.
LOCK_TIMEOUT = "4s"
STATEMENT_TIMEOUT = "60s"
ONE_MIGRATION = "SELECT pg_advisory_lock(hashtextextended('umbel.migrations', 0))"


def run() -> None:
    """Apply the migrations over one connection."""
    database = connect(get_settings(), pool_size=1, application="umbel-migrate")
    with database.engine.connect() as connection:
        connection.execute(text(f"SET statement_timeout = '{STATEMENT_TIMEOUT}'"))
        connection.execute(text(ONE_MIGRATION))
        connection.execute(text(f"SET lock_timeout = '{LOCK_TIMEOUT}'"))
        connection.commit()
        context.configure(connection=connection, target_metadata=Base.metadata, compare_server_default=False)
        with context.begin_transaction():
            context.run_migrations()
    database.close()


run()
