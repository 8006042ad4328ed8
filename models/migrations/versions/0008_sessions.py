"""Conversations with agents, and messages to tasks under way. New tables, and a column with a default."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = '0008'
down_revision: str | None = '0007'
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    op.create_table('agent_sessions',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('account_id', sa.Uuid(), nullable=False),
    sa.Column('title', sa.Text(), server_default='', nullable=False),
    sa.Column('agent', sa.Text(), nullable=True),
    sa.Column('length', sa.Integer(), server_default='0', nullable=False),
    sa.Column('summary', sa.Text(), nullable=True),
    sa.Column('summary_upto', sa.Integer(), server_default='0', nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('updated_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.ForeignKeyConstraint(['account_id'], ['accounts.id'], name=op.f('fk_agent_sessions_account_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_agent_sessions')),
    if_not_exists=True
    )
    op.create_index('ix_agent_sessions_account', 'agent_sessions', ['account_id', sa.literal_column('id DESC')],
                    unique=False, if_not_exists=True)
    op.create_table('agent_session_messages',
    sa.Column('session_id', sa.Uuid(), nullable=False),
    sa.Column('number', sa.Integer(), nullable=False),
    sa.Column('account_id', sa.Uuid(), nullable=False),
    sa.Column('task_id', sa.Uuid(), nullable=False),
    sa.Column('message', postgresql.JSONB(astext_type=sa.Text()), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.ForeignKeyConstraint(['session_id'], ['agent_sessions.id'], name=op.f('fk_agent_session_messages_session_id'),
                            ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('session_id', 'number', name=op.f('pk_agent_session_messages')),
    if_not_exists=True
    )
    op.create_table('task_messages',
    sa.Column('task_id', sa.Uuid(), nullable=False),
    sa.Column('number', sa.Integer(), nullable=False),
    sa.Column('account_id', sa.Uuid(), nullable=False),
    sa.Column('user_id', sa.Uuid(), nullable=True),
    sa.Column('text', sa.Text(), nullable=False),
    sa.Column('idempotency_key', sa.Text(), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.PrimaryKeyConstraint('task_id', 'number', name=op.f('pk_task_messages')),
    if_not_exists=True
    )
    op.create_index('uq_task_messages_idempotency', 'task_messages', ['task_id', 'idempotency_key'], unique=True,
                    if_not_exists=True)
    op.add_column('runs', sa.Column('messages', sa.Integer(), server_default='0', nullable=False), if_not_exists=True)


def downgrade() -> None:
    op.drop_column('runs', 'messages')
    op.drop_table('task_messages')
    op.drop_table('agent_session_messages')
    op.drop_table('agent_sessions')
