"""Workers tell how they keep code in, and files of sandboxes outlive a worker. A new column and a new table; nothing before
them reads or writes either.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = '0011'
down_revision: str | None = '0010'
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    op.execute("ALTER TABLE workers ADD COLUMN IF NOT EXISTS sandbox jsonb")
    op.create_table('sandbox_snapshots',
    sa.Column('step', sa.Text(), nullable=False),
    sa.Column('run_id', sa.Uuid(), nullable=False),
    sa.Column('number', sa.BigInteger(), sa.Identity(always=True), nullable=False),
    sa.Column('content', sa.LargeBinary(), nullable=True),
    sa.Column('taken_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.PrimaryKeyConstraint('step', name=op.f('pk_sandbox_snapshots')),
    if_not_exists=True
    )
    op.create_index('ix_sandbox_snapshots_run_id', 'sandbox_snapshots', ['run_id'], if_not_exists=True)
    op.create_index('ix_sandbox_snapshots_taken_at', 'sandbox_snapshots', ['taken_at'], if_not_exists=True)


def downgrade() -> None:
    op.drop_table('sandbox_snapshots')
    op.execute("ALTER TABLE workers DROP COLUMN IF EXISTS sandbox")
