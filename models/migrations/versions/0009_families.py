"""Tasks that were started by a run of another task.

It works beside the version before it, which starts none; a child that ends under a worker of that version is noticed by
the reconciler. Every part may be run again after a failure.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = '0009'
down_revision: str | None = '0008'
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    op.add_column('tasks', sa.Column('parent_task_id', sa.Uuid(), nullable=True), if_not_exists=True)
    op.add_column('tasks', sa.Column('parent_run_id', sa.Uuid(), nullable=True), if_not_exists=True)
    op.add_column('tasks', sa.Column('depth', sa.SmallInteger(), server_default='0', nullable=False), if_not_exists=True)
    op.add_column('tasks', sa.Column('attached', sa.Boolean(), server_default='true', nullable=False), if_not_exists=True)
    op.add_column(
        'tasks',
        sa.Column('children_usage', postgresql.JSONB(), server_default='{}', nullable=False),
        if_not_exists=True,
    )
    # Not concurrently: that would wait for whoever waits for this migration. The index is empty, so it is quick.
    op.create_index(
        'ix_tasks_parent', 'tasks', ['parent_task_id', 'id'], unique=False,
        postgresql_where=sa.text('parent_task_id IS NOT NULL'), if_not_exists=True,
    )


def downgrade() -> None:
    op.drop_index('ix_tasks_parent', table_name='tasks')
    for name in ('children_usage', 'attached', 'depth', 'parent_run_id', 'parent_task_id'):
        op.drop_column('tasks', name)
