"""Parts of messages and artifacts that are found by likeness. A new table; nothing before it reads or writes it.

What was said and made before is told to the index by `umbel patterns reindex --index passages`.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = '0017'
down_revision: str | None = '0016'
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        'passages',
        *(sa.Column(name, sa.Uuid(), nullable=False) for name in ('id', 'account_id')),
        sa.Column('kind', sa.Text(), nullable=False),
        sa.Column('source_id', sa.Uuid(), nullable=False),
        *(sa.Column(name, sa.Integer(), nullable=False) for name in ('number', 'part')),
        sa.Column('task_id', sa.Uuid(), nullable=False),
        *(sa.Column(name, sa.Text(), server_default='', nullable=False) for name in ('agent', 'speaker', 'title')),
        sa.Column('text', sa.Text(), nullable=False),
        sa.Column('words', postgresql.TSVECTOR(), nullable=True),
        sa.Column('embedder', sa.Text(), nullable=True),
        sa.Column('at', sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(['account_id'], ['accounts.id'], name=op.f('fk_passages_account_id')),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_passages')),
    )
    op.create_index(
        'uq_passages_place', 'passages', ['account_id', 'kind', 'source_id', 'number', 'part'], unique=True
    )
    op.create_index('ix_passages_words', 'passages', ['words'], postgresql_using='gin')


def downgrade() -> None:
    op.drop_table('passages')
