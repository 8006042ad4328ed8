"""Words of patterns, indexed. A new column PostgreSQL fills by itself; the version before neither reads nor writes it."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = '0018'
down_revision: str | None = '0017'
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    words = sa.Computed("to_tsvector('simple'::regconfig, (title || ' '::text) || situation)", persisted=True)
    op.add_column('patterns', sa.Column('words', postgresql.TSVECTOR(), words))
    op.create_index('ix_patterns_words', 'patterns', ['words'], postgresql_using='gin')


def downgrade() -> None:
    op.drop_index('ix_patterns_words', 'patterns')
    op.drop_column('patterns', 'words')
