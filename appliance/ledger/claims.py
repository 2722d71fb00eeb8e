"""Claiming: an item is a row, taken by compare-and-set, held by a lease, given back with an outcome.

``take`` → work → ``record`` (or ``postpone``). Whoever dies in between holds the item no longer than its lease, or
until the next worker on the same machine sees that the process is gone. Each loss is a strike against the item; at
`crash_limit` strikes in one stage it goes to `needs_human` instead of taking more workers down.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, and_, or_, select, update

from appliance.errors import Conflict
from appliance.events import STAGE_FACTS, Event, Fact
from appliance.ledger import schema
from appliance.ledger.lease import Lease, Worker, gone
from appliance.lesson import NOTHING, Learned
from appliance.work import Outcome, State, WorkItem

if TYPE_CHECKING:
    from appliance.ledger.store import Ledger

LONGEST_PAUSE = 600.0
"""Seconds an item is ever postponed. A `not_before` further away than this comes from a clock that jumped back."""


@dataclass(frozen=True)
class Claim:
    """An item in a worker's hands. `number` is what `record` compares."""

    item: WorkItem
    number: int
    worker: Worker
    retries: int


class Claims:
    """The claiming verbs of one ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def take(self, worker: Worker, lease_seconds: float, crash_limit: int, states: Sequence[State]) -> Claim | None:
        """Take the most severe, then oldest, free item in one of `states`; None when there is none.

        An item whose worker was lost `crash_limit` times in its stage is sent to `needs_human` on the way.
        """
        with self._ledger.database.writing() as connection:
            for row in self._candidates(connection, states):
                if row.worker and not self._is_free(row, worker):
                    continue
                strikes = row.strikes + (1 if row.worker else 0)
                if row.worker:
                    self._note_loss(connection, row, strikes)
                if strikes >= crash_limit:
                    self._park(connection, row, strikes)
                    continue
                return self._claim(connection, row, worker, lease_seconds, strikes)
        return None

    def any_due(self, states: Sequence[State]) -> bool:
        """Is an item in one of `states` worked on, or could be now?"""
        with self._ledger.database.reading() as connection:
            return bool(self._candidates(connection, states, most=1))

    def renew(self, claim: Claim, lease_seconds: float) -> None:
        """Prolong the lease. Raises Conflict when somebody else has taken the item."""
        with self._ledger.database.writing() as connection:
            self._set(connection, claim, **self._lease(claim.worker, lease_seconds))

    def record(
        self, claim: Claim, stage: str, outcome: Outcome, wall_seconds: float, learned: Learned = NOTHING
    ) -> WorkItem:
        """Write a stage's outcome and what it teaches, and free the item, in one transaction.

        Raises Conflict when the claim is no longer the newest: then the outcome is void and nothing was written.
        """
        before, item = claim.item, outcome.item.with_(
            updated=self._ledger.clock.now(), cost=outcome.item.cost.plus(wall_seconds=wall_seconds)
        )  # fmt: skip
        payload = {
            "stage": stage, "from": before.state, "to": item.state, "reason": outcome.reason, "by": outcome.by,
            "wall_seconds": round(wall_seconds, 3), "facts": outcome.facts,
        }  # fmt: skip
        with self._ledger.database.writing() as connection:
            self._set(connection, claim, **self._content(item), **FREE, strikes=0, retries=0, not_before_wall=0.0)
            seq = self._ledger.append_in(connection, Event(kind=STAGE_FACTS[stage], subject=item.id, payload=payload))
            for signal in outcome.signals:
                self._ledger.receive_in(connection, signal)
            self._ledger.lessons.note_in(connection, item, seq, learned)
        return item

    def postpone(self, claim: Claim, stage: str, reason: str, seconds: float) -> None:
        """Give the item back untouched, to be tried again after `seconds` (at most LONGEST_PAUSE)."""
        pause = min(seconds, LONGEST_PAUSE)
        until = self._ledger.clock.now().timestamp() + pause
        payload = {"stage": stage, "reason": reason, "retry_in_seconds": round(pause, 1), "retries": claim.retries + 1}
        with self._ledger.database.writing() as connection:
            self._set(connection, claim, **FREE, strikes=0, retries=claim.retries + 1, not_before_wall=until)
            self._ledger.append_in(connection, Event(kind=Fact.STAGE_ERRED, subject=claim.item.id, payload=payload))

    def release(self, claim: Claim) -> None:
        """Give the item back untouched and without a strike (the worker was asked to stop)."""
        with self._ledger.database.writing() as connection:
            self._set(connection, claim, **FREE)

    def apply(
        self, number: int, item_id: str, worker: Worker, decide: Callable[..., Outcome],
        learns: Callable[..., Learned] = lambda _before, _outcome: NOTHING,
    ) -> bool:  # fmt: skip
        """Apply command `number` to a free item, and keep what it teaches. False when a worker holds the item.

        Raises whatever `decide` raises, with nothing changed.
        """
        with self._ledger.database.writing() as connection:
            row = connection.execute(select(schema.items).filter_by(id=item_id)).one()
            if row.worker and not self._is_free(row, worker):
                return False
            before = WorkItem.model_validate_json(row.body)
            outcome: Outcome = decide(before)
            item = outcome.item.with_(updated=self._ledger.clock.now())
            connection.execute(
                update(schema.items)
                .where(schema.items.c.id == item_id)
                .values(
                    claim_no=row.claim_no + 1, strikes=0, retries=0, not_before_wall=0.0, **FREE, **self._content(item)
                )
            )
            seq = self.close_command(
                connection, number, item_id, outcome.reason, str(before.state), str(item.state), outcome.by
            )
            self._ledger.lessons.note_in(connection, item, seq, learns(before, outcome))
        return True

    def close_command(
        self, connection: Connection, number: int, item_id: str, reason: str, before: str, after: str, by: str
    ) -> int:
        """Mark a command done and append how it was taken. Returns the event's number."""
        connection.execute(update(schema.commands).where(schema.commands.c.number == number).values(applied=1))
        payload = {"number": number, "from": before, "to": after, "reason": reason, "by": by}
        return self._ledger.append_in(connection, Event(kind=Fact.COMMAND_APPLIED, subject=item_id, payload=payload))

    def refuse(self, number: int, item_id: str, state: str, why: str) -> None:
        """Close a command that cannot be applied, saying why."""
        with self._ledger.database.writing() as connection:
            self.close_command(connection, number, item_id, f"refused: {why}", state, state, "rule")

    def _candidates(self, connection: Connection, states: Sequence[State], most: int = 200) -> list[Any]:
        items, now = schema.items.c, self._ledger.clock.now().timestamp()
        due = or_(items.not_before_wall <= now, items.not_before_wall > now + LONGEST_PAUSE)
        query = select(schema.items).where(and_(items.state.in_([str(state) for state in states]), due))
        return list(connection.execute(query.order_by(items.severity, items.number).limit(most)))

    def _is_free(self, row: Any, me: Worker) -> bool:
        lease = Lease(row.lease_boot, row.lease_until_monotonic, row.lease_from_wall, row.lease_until_wall)
        clock = self._ledger.clock
        return gone(Worker.parse(row.worker), me) or lease.over(me.boot, clock.monotonic(), clock.now().timestamp())

    def _claim(self, connection: Connection, row: Any, worker: Worker, lease_seconds: float, strikes: int) -> Claim:
        number = row.claim_no + 1
        done = connection.execute(
            update(schema.items)
            .where(schema.items.c.id == row.id, schema.items.c.claim_no == row.claim_no)
            .values(claim_no=number, strikes=strikes, **self._lease(worker, lease_seconds))
        )
        assert done.rowcount == 1, "the write lock is held, so nobody can have come between"
        return Claim(WorkItem.model_validate_json(row.body), number, worker, row.retries)

    def _lease(self, worker: Worker, seconds: float) -> dict[str, Any]:
        wall = self._ledger.clock.now().timestamp()
        return {
            "worker": str(worker), "lease_boot": worker.boot,
            "lease_until_monotonic": self._ledger.clock.monotonic() + seconds,
            "lease_from_wall": wall, "lease_until_wall": wall + seconds,
        }  # fmt: skip

    def _set(self, connection: Connection, claim: Claim, **values: Any) -> None:
        done = connection.execute(
            update(schema.items)
            .where(
                schema.items.c.id == claim.item.id,
                schema.items.c.claim_no == claim.number,
                schema.items.c.worker == str(claim.worker),
            )
            .values(**values)
        )
        if done.rowcount != 1:
            raise Conflict(f"{claim.item.id} was taken by another worker", "nothing to do: the newer claim goes on")

    def _note_loss(self, connection: Connection, row: Any, strikes: int) -> None:
        payload = {"stage": row.stage, "worker": row.worker, "strikes": strikes,
                   "reason": f"the worker holding it was lost ({strikes}. time in stage {row.stage})"}  # fmt: skip
        self._ledger.append_in(connection, Event(kind=Fact.WORKER_LOST, subject=row.id, payload=payload))

    def _park(self, connection: Connection, row: Any, strikes: int) -> None:
        before = WorkItem.model_validate_json(row.body)
        why = (
            f"stage {row.stage} took {strikes} workers down in a row; look at logs/line.log, then `item retry {row.id}`"
        )
        item = before.with_(state=State.NEEDS_HUMAN, waiting_for=why, updated=self._ledger.clock.now())
        connection.execute(
            update(schema.items)
            .where(schema.items.c.id == row.id)
            .values(claim_no=row.claim_no + 1, strikes=0, **FREE, **self._content(item))
        )
        payload = {"stage": row.stage, "from": before.state, "to": item.state, "reason": why, "by": "rule",
                   "wall_seconds": 0.0, "facts": {"strikes": strikes}}  # fmt: skip
        self._ledger.append_in(connection, Event(kind=STAGE_FACTS[row.stage], subject=row.id, payload=payload))

    @staticmethod
    def _content(item: WorkItem) -> dict[str, Any]:
        return {
            "state": str(item.state), "stage": item.stage, "severity": item.severity, "title": item.title,
            "updated": item.updated.isoformat(), "body": item.model_dump_json(), "kind": str(item.kind),
            "twin": item.duplicate_of,
        }  # fmt: skip


FREE: dict[str, Any] = {
    "worker": "", "lease_boot": "", "lease_until_monotonic": 0.0, "lease_from_wall": 0.0, "lease_until_wall": 0.0,
}  # fmt: skip
"""The columns of an item nobody holds."""
