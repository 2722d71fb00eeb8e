"""People: accounts, the browsers they signed in with, and tokens for their programs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add accounts, sessions and tokens."""
    op.create_table(
        "users",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("password", sa.Text, nullable=False, server_default=""),
        sa.Column("code_secret", sa.Text, nullable=False, server_default=""),
        sa.Column("code_step", sa.Integer, nullable=False, server_default="0"),
        sa.Column("recovery", sa.Text, nullable=False, server_default="[]"),
    )
    op.create_table(
        "sessions",
        sa.Column("secret", sa.String(64), primary_key=True),
        sa.Column("id", sa.String(16), nullable=False, unique=True),
        sa.Column("user", sa.String(64), nullable=False),
        sa.Column("until", sa.String(40), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.create_index("sessions_by_user", "sessions", ["user"])
    op.create_index("sessions_by_end", "sessions", ["until"])
    op.create_table(
        "access_tokens",
        sa.Column("secret", sa.String(64), primary_key=True),
        sa.Column("id", sa.String(16), nullable=False, unique=True),
        sa.Column("user", sa.String(64), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.create_index("access_tokens_by_user", "access_tokens", ["user"])
