"""Messages from outside: kept raw before they are answered, worked on later, never dropped in silence."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from sqlalchemy import delete, func, insert, select, update

from appliance.errors import NotFound
from appliance.ledger import schema
from appliance.news import Delivery, DeliveryState

if TYPE_CHECKING:
    from appliance.ledger.store import Ledger


class Deliveries:
    """The inbox of one ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def take(self, delivery: Delivery, raw: bytes) -> tuple[Delivery, bool]:
        """Keep a message; on disk when this returns. The second value is False for one that was here before (same
        source, repository and id): then the first value is the earlier one."""
        with self._ledger.database.writing() as connection:
            known = select(schema.deliveries.c.body).filter_by(
                source=delivery.source, repo=delivery.repo, id=delivery.id
            )
            if body := connection.scalar(known):
                return Delivery.model_validate_json(body), False
            number = (connection.scalar(select(func.max(schema.deliveries.c.number))) or 0) + 1
            kept = delivery.with_(number=number, received=self._ledger.clock.now())
            connection.execute(
                insert(schema.deliveries).values(
                    number=number, source=kept.source, repo=kept.repo, id=kept.id, state=str(kept.state),
                    body=kept.model_dump_json(), raw=raw,
                )
            )  # fmt: skip
            return kept, True

    def waiting(self, limit: int = 100) -> list[Delivery]:
        """Messages nobody has worked on, oldest first."""
        columns = schema.deliveries.c
        query = select(columns.body).filter_by(state=str(DeliveryState.WAITING)).order_by(columns.number).limit(limit)
        with self._ledger.database.reading() as connection:
            return [Delivery.model_validate_json(body) for body in connection.scalars(query)]

    def settle(self, number: int, state: DeliveryState, why: str, signal: str = "", item: str = "") -> Delivery:
        """Note what came of a message. Raises NotFound."""
        settled = self.get(number).with_(state=state, why=why, signal=signal, item=item)
        with self._ledger.database.writing() as connection:
            connection.execute(
                update(schema.deliveries)
                .where(schema.deliveries.c.number == number)
                .values(state=str(state), body=settled.model_dump_json())
            )
        return settled

    def get(self, number: int) -> Delivery:
        """Raises NotFound."""
        return Delivery.model_validate_json(cast("str", self._column(number, "body")))

    def raw(self, number: int) -> bytes:
        """The bytes as they came. Raises NotFound."""
        return cast("bytes", self._column(number, "raw"))

    def list(self, repo: str = "", state: DeliveryState | None = None, limit: int = 100) -> list[Delivery]:
        """Messages, newest first."""
        columns = schema.deliveries.c
        query = select(columns.body).order_by(columns.number.desc()).limit(limit)
        query = query.where(columns.repo == repo) if repo else query
        query = query.where(columns.state == str(state)) if state else query
        with self._ledger.database.reading() as connection:
            return [Delivery.model_validate_json(body) for body in connection.scalars(query)]

    def forget(self, below: int) -> int:
        """Delete settled messages with a number below this one; how many. Waiting ones stay."""
        columns = schema.deliveries.c
        with self._ledger.database.writing() as connection:
            done = connection.execute(
                delete(schema.deliveries).where(columns.number < below, columns.state != str(DeliveryState.WAITING))
            )
            return int(done.rowcount)

    def _column(self, number: int, name: str) -> object:
        with self._ledger.database.reading() as connection:
            found: object = connection.scalar(select(schema.deliveries.c[name]).filter_by(number=number))
        if found is None:
            raise NotFound(f"there is no delivery {number}", "`appliance signal deliveries` lists them")
        return found
