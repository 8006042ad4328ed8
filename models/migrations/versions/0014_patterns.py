"""Patterns: their record, the graph of facts, and what indexes have to be told. New tables only.

Changes from here on are told to indexes that may not be there yet; `umbel patterns reindex` fills those.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = '0014'
down_revision: str | None = '0013'
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

PATTERN = (['account_id', 'pattern_id'], ['patterns.account_id', 'patterns.id'])
NODE = ['graph_nodes.account_id', 'graph_nodes.id']


def now(name: str) -> sa.Column:
    return sa.Column(name, sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False)


def text(name: str, default: str | None = None, nullable: bool = False) -> sa.Column:
    return sa.Column(name, sa.Text(), server_default=default, nullable=nullable)


def uuid(name: str, nullable: bool = False) -> sa.Column:
    return sa.Column(name, sa.Uuid(), nullable=nullable)


def number(name: str, default: str | None = None, nullable: bool = False) -> sa.Column:
    return sa.Column(name, sa.Integer(), server_default=default, nullable=nullable)


def real(name: str) -> sa.Column:
    return sa.Column(name, sa.REAL(), nullable=True)


def big(name: str, *more: sa.Identity, default: str | None = None) -> sa.Column:
    return sa.Column(name, sa.BigInteger(), *more, server_default=default, nullable=False)


def flag(name: str, default: str | None = None, nullable: bool = False) -> sa.Column:
    return sa.Column(name, sa.Boolean(), server_default=default, nullable=nullable)


def json(name: str, default: str | None = None) -> sa.Column:
    return sa.Column(name, postgresql.JSONB(astext_type=sa.Text()), server_default=default, nullable=False)


def account(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(['account_id'], ['accounts.id'], name=op.f(f'fk_{table}_account_id'))


def of_pattern(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(*PATTERN, name=op.f(f'fk_{table}_account_id'), ondelete='CASCADE')


def upgrade() -> None:
    op.create_table('patterns',
    uuid('id'), uuid('account_id'), text('kind'), text('title'), text('situation'), json('steps', '[]'),
    json('tools', '{}'), text('agent', ''), text('toolset_hash', ''), text('embedder', nullable=True), text('digest'), text('state'),
    text('reason', ''), flag('pinned', 'false'), number('version', '1'), now('created_at'), now('updated_at'),
    account('patterns'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_patterns')),
    )
    op.create_index('uq_patterns_digest', 'patterns', ['account_id', 'digest'], unique=True)
    op.create_index('uq_patterns_account_id_id', 'patterns', ['account_id', 'id'], unique=True)
    op.create_index('ix_patterns_state', 'patterns', ['account_id', 'state', sa.text('id DESC')])
    op.create_table('pattern_changes',
    big('id', sa.Identity(always=True)), uuid('account_id'), uuid('pattern_id'), text('change'), number('version'),
    text('state'), flag('pinned'), json('content'), text('reason', ''), uuid('user_id', nullable=True),
    uuid('key_id', nullable=True), now('at'),
    of_pattern('pattern_changes'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_pattern_changes')),
    )
    op.create_index('ix_pattern_changes_pattern', 'pattern_changes', ['account_id', 'pattern_id', 'id'])
    op.create_table('pattern_evidence',
    uuid('pattern_id'), uuid('run_id'), uuid('account_id'), uuid('task_id'), text('verifier', nullable=True), now('at'),
    of_pattern('pattern_evidence'),
    sa.PrimaryKeyConstraint('pattern_id', 'run_id', name=op.f('pk_pattern_evidence')),
    )
    op.create_index('ix_pattern_evidence_run_id', 'pattern_evidence', ['run_id'])
    op.create_index('ix_pattern_evidence_pattern', 'pattern_evidence', ['account_id', 'pattern_id'])
    op.create_table('pattern_lessons',
    uuid('run_id'), number('extractor'), uuid('account_id'), uuid('task_id'), text('outcome'),
    text('opinion', nullable=True), number('learned', '0'), now('at'),
    sa.PrimaryKeyConstraint('run_id', 'extractor', name=op.f('pk_pattern_lessons')),
    )
    op.create_index('ix_pattern_lessons_account', 'pattern_lessons', ['account_id', sa.text('at DESC')])
    op.create_table('pattern_uses',
    uuid('id'), uuid('account_id'), uuid('task_id'), uuid('run_id'), uuid('pattern_id', nullable=True),
    number('version', nullable=True), text('agent', ''), real('similarity'), number('rank', nullable=True),
    flag('held_out', 'false'), flag('followed', nullable=True), real('weight'), now('at'),
    account('pattern_uses'),
    sa.ForeignKeyConstraint(*PATTERN, name='fk_pattern_uses_pattern', ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_pattern_uses')),
    )
    op.create_index('uq_pattern_uses_run', 'pattern_uses', ['run_id', 'pattern_id'], unique=True,
                    postgresql_nulls_not_distinct=True)
    op.create_index('ix_pattern_uses_pattern', 'pattern_uses', ['account_id', 'pattern_id', 'at'])
    op.create_index('ix_pattern_uses_held_out', 'pattern_uses', ['account_id', 'at'],
                    postgresql_where=sa.text('held_out'))
    op.create_table('pattern_outcomes',
    uuid('run_id'), uuid('account_id'), uuid('task_id'), text('agent', ''), flag('success'),
    text('verifier', nullable=True), number('steps'), number('tool_calls', '0'), big('tokens', default='0'),
    sa.Column('cost', sa.Numeric(), nullable=True), now('at'),
    account('pattern_outcomes'),
    sa.PrimaryKeyConstraint('run_id', name=op.f('pk_pattern_outcomes')),
    )
    op.create_index('ix_pattern_outcomes_account', 'pattern_outcomes', ['account_id', 'at'])
    op.create_table('graph_nodes',
    big('id', sa.Identity(always=True)), uuid('account_id'), text('kind'), text('key'), json('properties', '{}'),
    now('created_at'),
    account('graph_nodes'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_graph_nodes')),
    )
    op.create_index('uq_graph_nodes_key', 'graph_nodes', ['account_id', 'kind', 'key'], unique=True)
    op.create_index('uq_graph_nodes_account_id_id', 'graph_nodes', ['account_id', 'id'], unique=True)
    op.create_table('graph_edges',
    uuid('account_id'), big('from_id'), text('kind'), big('to_id'), json('properties', '{}'), now('created_at'),
    sa.ForeignKeyConstraint(['account_id', 'from_id'], NODE, name='fk_graph_edges_from', ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['account_id', 'to_id'], NODE, name='fk_graph_edges_to', ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('account_id', 'from_id', 'kind', 'to_id', name=op.f('pk_graph_edges')),
    )
    op.create_index('ix_graph_edges_to', 'graph_edges', ['account_id', 'to_id', 'kind', 'from_id'])
    op.create_table('pattern_outbox',
    big('id', sa.Identity()), uuid('account_id'), text('consumer'), text('subject'), text('key'), text('op'),
    number('attempts', '0'), sa.Column('claimed_until', sa.DateTime(timezone=True), nullable=True),
    text('error', nullable=True), now('created_at'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_pattern_outbox')),
    )
    op.create_index('uq_pattern_outbox_key', 'pattern_outbox', ['consumer', 'account_id', 'subject', 'key'],
                    unique=True)
    op.create_index('ix_pattern_outbox_order', 'pattern_outbox', ['consumer', 'id'])


def downgrade() -> None:
    for table in ('pattern_outbox', 'graph_edges', 'graph_nodes', 'pattern_outcomes', 'pattern_uses', 'pattern_lessons',
                  'pattern_evidence', 'pattern_changes', 'patterns'):
        op.drop_table(table)
