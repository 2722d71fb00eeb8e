"""Lessons: what the box remembers, where it was used, and how it is found."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the shared memory."""
    op.create_table(
        "lessons",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("id", sa.String(40), nullable=False, unique=True),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("source", sa.String(20), nullable=False),
        sa.Column("repo", sa.String(64), nullable=False),
        sa.Column("home", sa.String(64), nullable=False),
        sa.Column("key", sa.String(64), nullable=False, unique=True),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.create_index("lessons_by_state", "lessons", ["state", "number"])
    op.create_table(
        "lesson_uses",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("lesson", sa.String(40), nullable=False),
        sa.Column("item", sa.String(40), nullable=False),
        sa.Column("round", sa.Integer, nullable=False),
        sa.Column("stage", sa.String(20), nullable=False),
        sa.Column("came_of", sa.String(20), nullable=False, server_default=""),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.create_index("lesson_uses_by_item", "lesson_uses", ["item", "round", "lesson", "stage"], unique=True)
    op.create_index("lesson_uses_by_lesson", "lesson_uses", ["lesson", "number"])
    op.create_table(
        "lesson_vectors",
        sa.Column("lesson", sa.String(40), primary_key=True),
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("vector", sa.LargeBinary, nullable=False),
    )
    op.execute("CREATE VIRTUAL TABLE lesson_words USING fts5(text, place, tokenize = 'porter unicode61')")
