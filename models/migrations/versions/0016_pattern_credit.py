"""What patterns have proved. A new table; nothing before it reads or writes it."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = '0016'
down_revision: str | None = '0015'
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        'pattern_credit',
        sa.Column('pattern_id', sa.Uuid(), nullable=False),
        sa.Column('account_id', sa.Uuid(), nullable=False),
        sa.Column('verdict', sa.Text(), nullable=False),
        *(sa.Column(name, sa.Float(), nullable=False) for name in ('value', 'lower', 'upper')),
        *(sa.Column(name, sa.Integer(), nullable=False) for name in ('runs', 'held_out')),
        sa.Column('updated_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
        sa.ForeignKeyConstraint(
            ['account_id', 'pattern_id'],
            ['patterns.account_id', 'patterns.id'],
            name=op.f('fk_pattern_credit_account_id'),
            ondelete='CASCADE',
        ),
        sa.PrimaryKeyConstraint('pattern_id', name=op.f('pk_pattern_credit')),
    )


def downgrade() -> None:
    op.drop_table('pattern_credit')
