"""Items by the day they came and the day they last changed, for what the floor draws of the last weeks, and their
titles beside one another, so that a word is looked for without reading every item's body;
and the items of one state in their order."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the four indexes."""
    op.create_index("items_by_created", "items", ["created"])
    op.create_index("items_by_updated", "items", ["updated"])
    op.create_index("items_in_state", "items", ["state", "number"])
    op.create_index("items_by_title", "items", ["number", "title", "id"])
