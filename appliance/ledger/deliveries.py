"""Messages from outside: kept raw before they are answered, worked on later, never dropped in silence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, cast

from sqlalchemy import bindparam, delete, func, insert, select, update

from appliance.errors import Conflict, NotFound
from appliance.ledger import schema
from appliance.news import Delivery, DeliveryState
from appliance.work import FORGES

if TYPE_CHECKING:
    from appliance.ledger.store import Ledger

BATCH = 100
"""Messages touched in one transaction."""

OF_NAME = select(schema.deliveries.c.body).where(
    *(schema.deliveries.c[name] == bindparam(name) for name in ("source", "repo", "id"))
)
NEWEST = select(func.max(schema.deliveries.c.number))
KEEP = insert(schema.deliveries)
"""What every webhook asks of the ledger, made once: making them takes longer than answering them."""

HOOKING = tuple(kind for kind in FORGES if kind != "plain")
"""Sources that are forges."""


class Deliveries:
    """The inbox of one ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def take(self, delivery: Delivery, raw: bytes) -> tuple[Delivery, bool]:
        """Keep a message; on disk when this returns. The second value is False for one that was here before (same
        source, repository and id): then the first value is the earlier one."""
        named = {"source": delivery.source, "repo": delivery.repo, "id": delivery.id}
        with self._ledger.database.writing() as connection:
            if body := connection.scalar(OF_NAME, named):
                return Delivery.model_validate_json(body), False
            number = (connection.scalar(NEWEST) or 0) + 1
            kept = delivery.with_(number=number, received=self._ledger.clock.now())
            row = {**named, "number": number, "state": str(kept.state), "body": kept.model_dump_json(), "raw": raw}
            connection.execute(KEEP, row)
            return kept, True

    def waiting(self, limit: int = 100, without: Sequence[str] = ()) -> list[Delivery]:
        """Messages nobody has worked on, of all repositories but some: each repository's oldest first, repositories in
        turn, so that none holds up the others."""
        columns = schema.deliveries.c
        turn = func.row_number().over(partition_by=columns.repo, order_by=columns.number)
        query = select(columns.body).filter_by(state=str(DeliveryState.WAITING)).order_by(turn, columns.number)
        query = query.where(columns.repo.not_in(without)).limit(limit)
        with self._ledger.database.reading() as connection:
            return [Delivery.model_validate_json(body) for body in connection.scalars(query)]

    def newest_hook(self, repo: str) -> Delivery | None:
        """The newest message that the forge of a repository sent by itself, of those that are kept."""
        columns = schema.deliveries.c
        query = select(func.max(columns.number)).where(columns.source.in_(HOOKING), columns.repo == repo)
        with self._ledger.database.reading() as connection:
            number = connection.scalar(query)
        with suppress(NotFound):  # tidied away just now
            return self.get(number) if number else None
        return None

    def settle(self, number: int, state: DeliveryState, why: str, signal: str = "", item: str = "") -> Delivery:
        """Note what came of a message. Raises NotFound."""
        settled = self.get(number).with_(state=state, why=why, signal=signal, item=item)
        with self._ledger.database.writing() as connection:
            connection.execute(
                update(schema.deliveries)
                .where(schema.deliveries.c.number == number)
                .values(state=str(state), body=settled.model_dump_json(), signal=signal)
            )
        return settled

    def get(self, number: int) -> Delivery:
        """Raises NotFound."""
        return Delivery.model_validate_json(cast("str", self._column(number, "body")))

    def of_signal(self, signal: str) -> Delivery | None:
        """The message that a signal was filed from; None when nobody sent one, or it is deleted."""
        query = select(schema.deliveries.c.body).filter_by(signal=signal).order_by(schema.deliveries.c.number)
        with self._ledger.database.reading() as connection:
            body = connection.scalar(query.limit(1))
        return Delivery.model_validate_json(body) if body else None

    def raw(self, number: int) -> bytes:
        """The bytes as they came. Raises NotFound."""
        return cast("bytes", self._column(number, "raw"))

    def mapping(self, delivery: Delivery) -> Mapping[str, Sequence[str]]:
        """How its repository reads any JSON; empty when the message names none, or one that is gone."""
        try:
            return self._ledger.repository(delivery.repo).mapping
        except NotFound:
            return {}

    def list(
        self, repo: str = "", state: DeliveryState | None = None, limit: int = 100, before: int = 0
    ) -> list[Delivery]:
        """Messages, newest first; `before`: only those with a smaller number; 0 for all."""
        columns = schema.deliveries.c
        query = select(columns.body).where(columns.number < (before or schema.NO_END))
        query = query.order_by(columns.number.desc()).limit(limit)
        query = query.where(columns.repo == repo) if repo else query
        query = query.where(columns.state == str(state)) if state else query
        with self._ledger.database.reading() as connection:
            return [Delivery.model_validate_json(body) for body in connection.scalars(query)]

    def again(self, number: int) -> Delivery:
        """Let a message be worked on once more. Raises NotFound, or Conflict when its bytes are not kept."""
        kept = self.get(number)
        if kept.size and not self.raw(number):
            raise Conflict(f"the bytes of delivery {number} are not kept", "let its sender send it again")
        return kept if kept.state is DeliveryState.WAITING else self.settle(number, DeliveryState.WAITING, "")

    def weight(self) -> int:
        """Bytes of all messages that are kept."""
        with self._ledger.database.reading() as connection:
            return int(connection.scalar(select(func.sum(func.length(schema.deliveries.c.raw)))) or 0)

    def forget(self, raw_before: datetime, before: datetime, most_bytes: int) -> tuple[int, int]:
        """Let go of settled messages, oldest first: the bytes of those that came before `raw_before`, and as many more
        as are over `most_bytes`; what came before `before` is deleted whole, and with it the memory that it came.
        Returns how many were emptied and how many deleted. Those that wait stay."""
        over = self.weight() - most_bytes
        emptied: list[int] = []
        for number, received, size in self._oldest(with_bytes=True):
            if received >= raw_before and over <= 0:
                break
            emptied.append(number)
            over -= size
        deleted: list[int] = []
        for number, received, _ in self._oldest():
            if received >= before:
                break
            deleted.append(number)
        column = schema.deliveries.c.number
        for some in batches(emptied):
            with self._ledger.database.writing() as connection:
                connection.execute(update(schema.deliveries).where(column.in_(some)).values(raw=b""))
        for some in batches(deleted):
            with self._ledger.database.writing() as connection:
                connection.execute(delete(schema.deliveries).where(column.in_(some)))
        return len(emptied), len(deleted)

    def _oldest(self, with_bytes: bool = False) -> Iterator[tuple[int, datetime, int]]:
        """Number, time and bytes of settled messages, oldest first."""
        columns, size = schema.deliveries.c, func.length(schema.deliveries.c.raw)
        query = select(columns.number, columns.body, size).where(columns.state != str(DeliveryState.WAITING))
        query = query.where(size > 0) if with_bytes else query
        with self._ledger.database.reading() as connection:
            for row in connection.execution_options(yield_per=BATCH).execute(query.order_by(columns.number)):
                yield row[0], Delivery.model_validate_json(row[1]).received, row[2]

    def _column(self, number: int, name: str) -> object:
        with self._ledger.database.reading() as connection:
            found: object = connection.scalar(select(schema.deliveries.c[name]).filter_by(number=number))
        if found is None:
            raise NotFound(f"there is no delivery {number}", "`appliance signal deliveries` lists them")
        return found


def batches(numbers: Sequence[int]) -> Iterator[Sequence[int]]:
    """Few enough for one short transaction."""
    for start in range(0, len(numbers), BATCH):
        yield numbers[start : start + BATCH]
