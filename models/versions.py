"""Which migration this code is written for."""

from functools import lru_cache
from pathlib import Path


@lru_cache(maxsize=1)
def newest_migration() -> str | None:
    """Return the newest migration this code knows."""
    from alembic.script import ScriptDirectory  # heavy, and needed once

    return ScriptDirectory(str(Path(__file__).parent / "migrations")).get_current_head()
