"""Files, artifacts of tasks and projects, over blobs. New tables; nothing before them reads or writes them."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = '0012'
down_revision: str | None = '0011'
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

HELD = ['account_blobs.account_id', 'account_blobs.sha256']


def now(name: str) -> sa.Column:
    return sa.Column(name, sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False)


def text(name: str) -> sa.Column:
    return sa.Column(name, sa.Text(), nullable=False)


def uuid(name: str) -> sa.Column:
    return sa.Column(name, sa.Uuid(), nullable=False)


def number(name: str, default: str | None = None) -> sa.Column:
    return sa.Column(name, sa.Integer(), server_default=default, nullable=False)


def size(name: str = 'size', default: str | None = None) -> sa.Column:
    return sa.Column(name, sa.BigInteger(), server_default=default, nullable=False)


def upgrade() -> None:
    op.create_table('blobs',
    text('sha256'), size(), now('created_at'),
    sa.PrimaryKeyConstraint('sha256', name=op.f('pk_blobs')),
    )
    op.create_table('account_blobs',
    uuid('account_id'), text('sha256'), size(), now('touched_at'),
    sa.ForeignKeyConstraint(['account_id'], ['accounts.id'], name=op.f('fk_account_blobs_account_id')),
    sa.ForeignKeyConstraint(['sha256'], ['blobs.sha256'], name=op.f('fk_account_blobs_sha256')),
    sa.PrimaryKeyConstraint('account_id', 'sha256', name=op.f('pk_account_blobs')),
    )
    op.create_index(op.f('ix_account_blobs_sha256'), 'account_blobs', ['sha256'])
    op.create_table('storage',
    uuid('account_id'), size('bytes', '0'), number('files', '0'),
    sa.ForeignKeyConstraint(['account_id'], ['accounts.id'], name=op.f('fk_storage_account_id')),
    sa.PrimaryKeyConstraint('account_id', name=op.f('pk_storage')),
    )
    op.create_table('files',
    uuid('id'), uuid('account_id'), text('name'), text('media_type'), size(), text('sha256'), now('created_at'),
    sa.ForeignKeyConstraint(['account_id', 'sha256'], HELD, name='fk_files_sha256'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_files')),
    )
    op.create_index('ix_files_sha256', 'files', ['account_id', 'sha256'])
    op.create_index('ix_files_newest', 'files', ['account_id', 'id'])
    op.create_table('task_artifacts',
    uuid('id'), uuid('account_id'), uuid('task_id'), text('name'), text('title'), text('type'), number('version'),
    sa.Column('words', postgresql.TSVECTOR(), nullable=True), now('created_at'), now('updated_at'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_task_artifacts')),
    sa.UniqueConstraint('task_id', 'name', name='uq_task_artifacts_name'),
    )
    op.create_index('ix_task_artifacts_newest', 'task_artifacts', ['account_id', 'id'])
    op.create_index('ix_task_artifacts_words', 'task_artifacts', ['words'], postgresql_using='gin')
    op.create_table('artifact_versions',
    uuid('artifact_id'), number('version'), uuid('account_id'), uuid('run_id'), text('step'), text('media_type'),
    size(), text('sha256'),
    sa.Column('preview', postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
    now('created_at'),
    sa.ForeignKeyConstraint(['account_id', 'sha256'], HELD, name='fk_artifact_versions_sha256'),
    sa.ForeignKeyConstraint(['artifact_id'], ['task_artifacts.id'], name=op.f('fk_artifact_versions_artifact_id'),
                            ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('artifact_id', 'version', name=op.f('pk_artifact_versions')),
    )
    op.create_index('ix_artifact_versions_sha256', 'artifact_versions', ['account_id', 'sha256'])
    op.create_table('projects',
    uuid('id'), uuid('account_id'), text('name'), number('head', '0'), now('created_at'), now('updated_at'),
    sa.ForeignKeyConstraint(['account_id'], ['accounts.id'], name=op.f('fk_projects_account_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_projects')),
    sa.UniqueConstraint('account_id', 'name', name='uq_projects_name'),
    )
    op.create_table('snapshots',
    uuid('project_id'), number('number'), text('message'), text('digest'),
    sa.Column('restored_from', sa.Integer(), nullable=True), now('created_at'),
    sa.ForeignKeyConstraint(['project_id'], ['projects.id'], name=op.f('fk_snapshots_project_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('project_id', 'number', name=op.f('pk_snapshots')),
    )
    op.create_table('snapshot_files',
    uuid('project_id'), number('number'), text('path'), uuid('account_id'), size(), text('sha256'),
    sa.ForeignKeyConstraint(['account_id', 'sha256'], HELD, name='fk_snapshot_files_sha256'),
    sa.ForeignKeyConstraint(['project_id', 'number'], ['snapshots.project_id', 'snapshots.number'],
                            name='fk_snapshot_files_snapshot', ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('project_id', 'number', 'path', name=op.f('pk_snapshot_files')),
    )
    op.create_index('ix_snapshot_files_sha256', 'snapshot_files', ['account_id', 'sha256'])


def downgrade() -> None:
    for table in ('snapshot_files', 'snapshots', 'projects', 'artifact_versions', 'task_artifacts', 'files', 'storage',
                  'account_blobs', 'blobs'):
        op.drop_table(table)
