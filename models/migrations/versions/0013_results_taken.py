"""Snapshots name the task they took over, runs their queue, and tasks what they are equal to. New columns and a new table;
nothing before them reads or writes any.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = '0013'
down_revision: str | None = '0012'
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    op.execute("ALTER TABLE snapshots ADD COLUMN IF NOT EXISTS task_id uuid")
    op.execute("ALTER TABLE runs ADD COLUMN IF NOT EXISTS queue text")
    op.create_table('task_keys',
    sa.Column('task_id', sa.Uuid(), nullable=False),
    sa.Column('account_id', sa.Uuid(), nullable=False),
    sa.Column('same', sa.Text(), nullable=True),
    sa.Column('place', sa.Text(), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.PrimaryKeyConstraint('task_id', name=op.f('pk_task_keys')),
    if_not_exists=True
    )
    op.create_index('ix_task_keys_same', 'task_keys', ['account_id', 'same', sa.text('task_id DESC')], if_not_exists=True)
    op.create_index('ix_task_keys_place', 'task_keys', ['account_id', 'place', sa.text('task_id DESC')],
                    postgresql_where=sa.text('place IS NOT NULL'), if_not_exists=True)


def downgrade() -> None:
    op.drop_table('task_keys')
    op.execute("ALTER TABLE runs DROP COLUMN IF EXISTS queue")
    op.execute("ALTER TABLE snapshots DROP COLUMN IF EXISTS task_id")
