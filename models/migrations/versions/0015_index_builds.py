"""Builds of indexes, with their progress

Revision ID: 0015
Revises: 0014
"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    now = sa.text("now()")
    op.create_table(
        "index_builds",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("consumer", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), server_default="queued", nullable=False),
        sa.Column("generation", sa.Text(), server_default="", nullable=False),
        sa.Column("embedder", sa.Text(), server_default="", nullable=False),
        sa.Column("done", sa.Integer(), server_default="0", nullable=False),
        sa.Column("total", sa.Integer(), server_default="0", nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=now, nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=now, nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_index_builds")),
    )
    open_ones = sa.text("state IN ('queued', 'running')")
    op.create_index("uq_index_builds_open", "index_builds", ["consumer"], unique=True, postgresql_where=open_ones)
    op.create_index("ix_index_builds_newest", "index_builds", ["consumer", sa.text("created_at DESC")])


def downgrade() -> None:
    op.drop_table("index_builds")
