"""Items by the day they came and the day they last changed, for what the floor draws of the last weeks."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the two indexes."""
    op.create_index("items_by_created", "items", ["created"])
    op.create_index("items_by_updated", "items", ["updated"])
