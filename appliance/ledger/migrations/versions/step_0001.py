"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make all tables of version 0.1."""
    op.create_table(
        "events",
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("at", sa.String(40), nullable=False),
        sa.Column("kind", sa.String(40), nullable=False),
        sa.Column("subject", sa.String(80), nullable=False),
        sa.Column("payload", sa.Text, nullable=False),
        sa.Column("prev", sa.String(64), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
    )
    op.create_index("events_by_subject", "events", ["subject", "seq"])
    op.create_table(
        "signals",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("id", sa.String(40), nullable=False, unique=True),
        sa.Column("repo", sa.String(64), nullable=False),
        sa.Column("item", sa.String(40), nullable=False, server_default=""),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.create_index("signals_by_item", "signals", ["item"])
    _items()
    op.create_table(
        "repositories",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.create_table(
        "commands",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("item", sa.String(40), nullable=False),
        sa.Column("verb", sa.String(20), nullable=False),
        sa.Column("by", sa.String(80), nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("at", sa.String(40), nullable=False),
        sa.Column("applied", sa.Integer, nullable=False, server_default="0"),
    )
    op.create_index("commands_open", "commands", ["applied", "number"])
    op.create_table(
        "watermarks",
        sa.Column("name", sa.String(40), primary_key=True),
        sa.Column("seq", sa.Integer, nullable=False),
    )


def _items() -> None:
    op.create_table(
        "items",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("number", sa.Integer, nullable=False, unique=True),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("stage", sa.String(20), nullable=False),
        sa.Column("repo", sa.String(64), nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("severity", sa.Integer, nullable=False),
        sa.Column("created", sa.String(40), nullable=False),
        sa.Column("updated", sa.String(40), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("claim_no", sa.Integer, nullable=False, server_default="0"),
        sa.Column("worker", sa.String(160), nullable=False, server_default=""),
        sa.Column("lease_boot", sa.String(8), nullable=False, server_default=""),
        sa.Column("lease_until_monotonic", sa.Float, nullable=False, server_default="0"),
        sa.Column("lease_from_wall", sa.Float, nullable=False, server_default="0"),
        sa.Column("lease_until_wall", sa.Float, nullable=False, server_default="0"),
        sa.Column("strikes", sa.Integer, nullable=False, server_default="0"),
        sa.Column("retries", sa.Integer, nullable=False, server_default="0"),
        sa.Column("not_before_wall", sa.Float, nullable=False, server_default="0"),
    )
    op.create_index("items_by_state", "items", ["state", "severity", "number"])
    op.create_index("items_by_repo", "items", ["repo", "number"])


def downgrade() -> None:
    """Drop everything; a release is rolled back on a copy, see the installer."""
    for table in ("watermarks", "commands", "repositories", "items", "signals", "events"):
        op.drop_table(table)
