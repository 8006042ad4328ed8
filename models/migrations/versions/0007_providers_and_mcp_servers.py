"""Providers of models and MCP servers accounts declare. New tables; nothing before them reads or writes them."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = '0007'
down_revision: str | None = '0006'
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    _declared('providers')
    _declared('mcp_servers', sa.Column('pins', postgresql.JSONB(astext_type=sa.Text()),
                                       server_default=sa.text("'{}'::jsonb"), nullable=False))


def _declared(table: str, *more: sa.Column) -> None:
    op.create_table(table,
    sa.Column('account_id', sa.Uuid(), nullable=False),
    sa.Column('name', sa.Text(), nullable=False),
    sa.Column('version', sa.Integer(), server_default='1', nullable=False),
    sa.Column('declared', postgresql.JSONB(astext_type=sa.Text()), nullable=False),
    sa.Column('sealed', sa.Text(), nullable=True),
    sa.Column('digest', sa.Text(), nullable=False),
    *more,
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('updated_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.ForeignKeyConstraint(['account_id'], ['accounts.id'], name=op.f(f'fk_{table}_account_id')),
    sa.PrimaryKeyConstraint('account_id', 'name', name=op.f(f'pk_{table}')),
    if_not_exists=True
    )


def downgrade() -> None:
    op.drop_table('mcp_servers')
    op.drop_table('providers')
