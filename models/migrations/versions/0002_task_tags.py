"""Tags in a table of their own: a list by tag reads that tag's rows, newest first, however many tasks there are.

It works beside the version before it: a trigger notes the tags, so tasks that version submits are found too. Every part
may be run again after a failure.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = '0002'
down_revision: str | None = '0001'
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

#: Tasks copied by one statement, well within the statement timeout.
SLICE = 20_000

NOTE_TAGS = """
CREATE OR REPLACE FUNCTION umbel_note_tags() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO task_tags (account_id, tag, task_id)
    SELECT NEW.account_id, tag, NEW.id FROM unnest(NEW.tags) tag ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$
"""
TRIGGER = """
CREATE OR REPLACE TRIGGER note_tags AFTER INSERT ON tasks
FOR EACH ROW WHEN (NEW.tags <> '{}') EXECUTE FUNCTION umbel_note_tags()
"""
COPY = """
WITH slice AS (
    SELECT id, account_id, tags FROM tasks WHERE id > :after ORDER BY id LIMIT :slice
), copied AS (
    INSERT INTO task_tags (account_id, tag, task_id)
    SELECT account_id, tag, id FROM slice, unnest(tags) tag ON CONFLICT DO NOTHING
)
SELECT id FROM slice ORDER BY id DESC LIMIT 1
"""


def upgrade() -> None:
    op.create_table('task_tags',
    sa.Column('account_id', sa.Uuid(), nullable=False),
    sa.Column('tag', sa.Text(), nullable=False),
    sa.Column('task_id', sa.Uuid(), nullable=False),
    sa.PrimaryKeyConstraint('account_id', 'tag', 'task_id', name=op.f('pk_task_tags')),
    if_not_exists=True
    )
    op.execute(NOTE_TAGS)
    op.execute(TRIGGER)
    with op.get_context().autocommit_block():  # commits the trigger: its lock must not last as long as the copying
        _copy()
        op.drop_index('ix_tasks_tags', table_name='tasks', postgresql_concurrently=True, if_exists=True)


def downgrade() -> None:
    op.create_index('ix_tasks_tags', 'tasks', ['tags'], unique=False, postgresql_using='gin')
    op.execute("DROP TRIGGER note_tags ON tasks")
    op.execute("DROP FUNCTION umbel_note_tags()")
    op.drop_table('task_tags')


def _copy() -> None:
    after = '00000000-0000-0000-0000-000000000000'
    while after is not None:
        after = op.get_bind().execute(sa.text(COPY), {"after": after, "slice": SLICE}).scalar()
