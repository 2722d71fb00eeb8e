"""What the inbox of signals is narrowed by, beside one another: where and when they came, what kind of item they became
and which other it is a duplicate of; and the message that a signal was filed from."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

ADDED = (("signals", "source", 80), ("signals", "created", 40), ("items", "kind", 20), ("items", "twin", 40),
         ("deliveries", "signal", 40))  # fmt: skip


def upgrade() -> None:
    """Add the columns, fill them from the bodies, and index them."""
    for table, column, length in ADDED:
        op.add_column(table, sa.Column(column, sa.String(length), nullable=False, server_default=""))
    op.execute(
        "UPDATE signals SET source = substr(json_extract(body, '$.source'), 1, 80),"
        " created = replace(json_extract(body, '$.created'), 'Z', '+00:00')"
    )
    op.execute(
        "UPDATE items SET kind = json_extract(body, '$.kind'),"
        " twin = coalesce(json_extract(body, '$.duplicate_of'), '')"
    )
    op.execute("UPDATE deliveries SET signal = coalesce(json_extract(body, '$.signal'), '')")
    op.create_index("signals_told", "signals", ["number", "repo", "source", "created", "item"])
    op.create_index("items_told", "items", ["number", "state", "kind", "severity", "repo"])
    op.create_index("items_by_twin", "items", ["twin", "number"], sqlite_where=sa.text("twin <> ''"))
    op.create_index("deliveries_by_signal", "deliveries", ["signal"], sqlite_where=sa.text("signal <> ''"))
