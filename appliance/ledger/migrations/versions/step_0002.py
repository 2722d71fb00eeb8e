"""Messages from outside, mirrors' health, and what a forge was told."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add what the forges' side needs."""
    op.add_column("signals", sa.Column("key", sa.String(200), nullable=False, server_default=""))
    op.create_index("signals_by_key", "signals", ["repo", "key"], unique=True, sqlite_where=sa.text("key <> ''"))
    op.create_table(
        "deliveries",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("source", sa.String(20), nullable=False),
        sa.Column("repo", sa.String(64), nullable=False),
        sa.Column("id", sa.String(200), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("raw", sa.LargeBinary, nullable=False),
    )
    op.create_index("deliveries_by_id", "deliveries", ["source", "repo", "id"], unique=True)
    op.create_index("deliveries_by_state", "deliveries", ["state", "number"])
    op.create_table(
        "mirrors",
        sa.Column("repo", sa.String(64), primary_key=True),
        sa.Column("health", sa.Text, nullable=False, server_default="{}"),
        sa.Column("cursor", sa.Text, nullable=False, server_default=""),
    )
    op.create_table(
        "told",
        sa.Column("item", sa.String(40), primary_key=True),
        sa.Column("what", sa.String(80), primary_key=True),
        sa.Column("sha256", sa.String(64), nullable=False),
    )
