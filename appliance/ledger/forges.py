"""What the box remembers of its repositories' servers: how each mirror stands, how far it was polled, what was told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.dialects.sqlite import Insert
from sqlalchemy.dialects.sqlite import insert as upsert

from appliance.ledger import schema
from appliance.work import MirrorHealth

if TYPE_CHECKING:
    from appliance.ledger.store import Ledger


class Forges:
    """The servers' side of one ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def health(self, repo: str) -> MirrorHealth:
        """How a mirror stood when it was last looked at; an empty one before that."""
        with self._ledger.database.reading() as connection:
            body = connection.scalar(select(schema.mirrors.c.health).filter_by(repo=repo))
        return MirrorHealth.model_validate_json(body or "{}")

    def all_health(self) -> dict[str, MirrorHealth]:
        """How all mirrors stand, by repository; those that were never looked at are left out."""
        with self._ledger.database.reading() as connection:
            rows = connection.execute(select(schema.mirrors.c.repo, schema.mirrors.c.health))
            return {row.repo: MirrorHealth.model_validate_json(row.health) for row in rows}

    def note_turn(self, repo: str, health: MirrorHealth, cursor: str | None) -> bool:
        """Note how a mirror stands and, unless None, how far its forge was polled. False, and nothing noted, when the
        repository is there no longer."""
        moved = {} if cursor is None else {"cursor": cursor}
        with self._ledger.database.writing() as connection:
            if connection.scalar(select(schema.repositories.c.name).filter_by(name=repo)) is None:
                return False
            connection.execute(_upserted(repo, health=health.model_dump_json(), **moved))
        return True

    def note_health(self, repo: str, health: MirrorHealth) -> None:
        """Note how a mirror stands."""
        self._note(repo, health=health.model_dump_json())

    def cursor(self, repo: str) -> str:
        """How far the forge was polled, in the adapter's own words; "" at first."""
        with self._ledger.database.reading() as connection:
            return connection.scalar(select(schema.mirrors.c.cursor).filter_by(repo=repo)) or ""

    def set_cursor(self, repo: str, cursor: str) -> None:
        """Note how far the forge was polled."""
        self._note(repo, cursor=cursor)

    def told(self, item: str) -> dict[str, str]:
        """What a forge was told of an item: what → SHA-256 of the words."""
        with self._ledger.database.reading() as connection:
            rows = connection.execute(select(schema.told.c.what, schema.told.c.sha256).filter_by(item=item))
            return {row.what: row.sha256 for row in rows}

    def note_told(self, item: str, what: str, sha256: str) -> None:
        """Note that a forge knows this now."""
        statement = upsert(schema.told).values(item=item, what=what, sha256=sha256)
        with self._ledger.database.writing() as connection:
            connection.execute(
                statement.on_conflict_do_update(index_elements=["item", "what"], set_={"sha256": sha256})
            )

    def _note(self, repo: str, **values: str) -> None:
        with self._ledger.database.writing() as connection:
            connection.execute(_upserted(repo, **values))


def _upserted(repo: str, **values: str) -> Insert:
    return upsert(schema.mirrors).values(repo=repo, **values).on_conflict_do_update(["repo"], set_=values)
