"""Notes agents keep from task to task. A new table; nothing before it reads or writes it."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = '0006'
down_revision: str | None = '0005'
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    op.create_table('memory_notes',
    sa.Column('account_id', sa.Uuid(), nullable=False),
    sa.Column('agent', sa.Text(), nullable=False),
    sa.Column('key', sa.Text(), nullable=False),
    sa.Column('text', sa.Text(), nullable=False),
    sa.Column('idempotency_key', sa.Text(), nullable=False),
    sa.Column('words', postgresql.TSVECTOR(),
              sa.Computed("to_tsvector('simple'::regconfig, (key || ' '::text) || text)", persisted=True)),
    sa.Column('updated_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.ForeignKeyConstraint(['account_id'], ['accounts.id'], name=op.f('fk_memory_notes_account_id')),
    sa.PrimaryKeyConstraint('account_id', 'agent', 'key', name=op.f('pk_memory_notes')),
    if_not_exists=True
    )


def downgrade() -> None:
    op.drop_table('memory_notes')
