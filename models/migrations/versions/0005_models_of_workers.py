"""Workers tell which models they may be asked for. A new column; the version before neither reads nor writes it."""

from collections.abc import Sequence

from alembic import op

revision: str = '0005'
down_revision: str | None = '0004'
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    op.execute("ALTER TABLE workers ADD COLUMN IF NOT EXISTS models jsonb")


def downgrade() -> None:
    op.execute("ALTER TABLE workers DROP COLUMN IF EXISTS models")
