"""The verbs of the ledger: append, receive, open, history, tail, command; claiming is in `claims.py`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from appliance.config import Home
from appliance.errors import Conflict, NotFound
from appliance.events import Event, Fact
from appliance.ledger import schema
from appliance.ledger.acting import ACTOR
from appliance.ledger.chain import GENESIS, Recorded, canonical, digest
from appliance.ledger.claims import Claim, Claims
from appliance.ledger.database import Database
from appliance.ledger.deliveries import Deliveries
from appliance.ledger.forges import Forges
from appliance.ledger.ids import item_of
from appliance.ledger.legal import check_legal
from appliance.ledger.lessons import Lessons
from appliance.ledger.sessions import Sessions
from appliance.ledger.users import Users
from appliance.ports import Clock, SystemClock
from appliance.work import ENDED, Noun, Outcome, Signal, State, TrackedRepository, WorkItem

__all__ = ["Claim", "Command", "Ledger", "open_ledger"]


class Command(Noun):
    """What a person asked of an item; the runner applies it between stages."""

    number: int
    item: str
    verb: str
    by: str
    text: str = ""


KEYS_AT_ONCE = 500
"""Named in one query."""


class Ledger:
    """One ledger file, opened. Threads may share it; each process opens its own (never across a fork)."""

    def __init__(self, database: Database, clock: Clock | None = None) -> None:
        self.database = database
        self.clock = clock or SystemClock()
        self.claims = Claims(self)
        self.deliveries = Deliveries(self)
        self.forges = Forges(self)
        self.lessons = Lessons(self)
        self.users = Users(self)
        self.sessions = Sessions(self)

    def close(self) -> None:
        self.database.close()

    # --- events

    def append(self, event: Event) -> int:
        """Append one fact that changes no state. Returns its number."""
        with self.database.writing() as connection:
            return self.append_in(connection, event)

    def append_in(self, connection: Connection, event: Event) -> int:
        """Append within a transaction that also changes state."""
        last = connection.execute(
            select(schema.events.c.seq, schema.events.c.hash).order_by(schema.events.c.seq.desc()).limit(1)
        ).first()
        seq, prev = (last.seq + 1, last.hash) if last else (1, GENESIS)
        told = {**event.payload, "actor": actor} if (actor := ACTOR.get()) else event.payload
        at, payload = self.clock.now().isoformat(timespec="milliseconds"), canonical(told)
        row = {
            "seq": seq,
            "at": at,
            "kind": str(event.kind),
            "subject": event.subject,
            "payload": payload,
            "prev": prev,
        }
        row["hash"] = digest(seq, at, str(event.kind), event.subject, payload, prev)
        connection.execute(insert(schema.events).values(row))
        return seq

    def tail(self, after: int = 0, limit: int = 1000) -> list[Recorded]:
        """Events with a number above `after`, oldest first."""
        with self.database.reading() as connection:
            rows = connection.execute(
                select(schema.events).where(schema.events.c.seq > after).order_by(schema.events.c.seq).limit(limit)
            )
            return [recorded(row) for row in rows]

    def history(self, subject: str) -> list[Recorded]:
        """Everything that happened to one subject, oldest first."""
        with self.database.reading() as connection:
            rows = connection.execute(
                select(schema.events).where(schema.events.c.subject == subject).order_by(schema.events.c.seq)
            )
            return [recorded(row) for row in rows]

    def raw_events(self) -> Iterator[tuple[int, str, str, str, str, str, str]]:
        """Every row as stored, in order; for verification."""
        with self.database.reading() as connection:
            columns = schema.events.c
            for row in connection.execution_options(yield_per=5000).execute(
                select(schema.events).order_by(columns.seq)
            ):
                yield row.seq, row.at, row.kind, row.subject, row.payload, row.prev, row.hash

    def tip(self) -> tuple[int, str]:
        """Number and hash of the newest event."""
        with self.database.reading() as connection:
            row = connection.execute(
                select(schema.events.c.seq, schema.events.c.hash).order_by(schema.events.c.seq.desc()).limit(1)
            ).first()
            return (row.seq, row.hash) if row else (0, GENESIS)

    def hash_of(self, seq: int) -> str:
        """Hash of one event; "" when there is none of that number."""
        with self.database.reading() as connection:
            return connection.scalar(select(schema.events.c.hash).filter_by(seq=seq)) or ""

    # --- signals

    def receive(self, signal: Signal) -> Signal:
        """Keep a signal (its `id` is given here: S-1, S-2 …); one whose `key` its repository knows is kept already.

        Raises:
            NotFound: the repository is unknown.
        """
        with self.database.writing() as connection:
            return self.receive_in(connection, signal)

    def receive_in(self, connection: Connection, signal: Signal) -> Signal:
        """Receive within a transaction that also changes state."""
        if not connection.scalar(select(schema.repositories.c.name).filter_by(name=signal.repo)):
            raise NotFound(f"there is no repository {signal.repo!r}", self._known_repositories(connection))
        known = select(schema.signals.c.body).filter_by(repo=signal.repo, key=signal.key)
        if signal.key and (body := connection.scalar(known)):
            return Signal.model_validate_json(body)
        number = (connection.scalar(select(func.max(schema.signals.c.number))) or 0) + 1
        kept = signal.with_(id=f"S-{number}", created=self.clock.now())
        connection.execute(
            insert(schema.signals).values(
                number=number,
                id=kept.id,
                repo=kept.repo,
                item="",
                body=kept.model_dump_json(),
                key=kept.key,
                source=kept.source[:80],
                created=kept.created.isoformat(),
            )
        )
        self.append_in(
            connection, Event(kind=Fact.SIGNAL_RECEIVED, subject=kept.id, payload=kept.model_dump(mode="json"))
        )
        return kept

    def signal(self, id: str) -> tuple[Signal, str]:
        """A signal and the id of its item ("" before it is opened). Raises NotFound."""
        with self.database.reading() as connection:
            row = connection.execute(select(schema.signals).filter_by(id=id)).first()
        if row is None:
            raise NotFound(f"there is no signal {id!r}", "`appliance signal list` shows all")
        return Signal.model_validate_json(row.body), row.item

    def signals(
        self, repo: str = "", unopened: bool = False, limit: int = 1000, before: int = 0
    ) -> list[tuple[Signal, str]]:
        """Signals with their item's id, newest first, or those unopened, oldest first; `before`: of smaller numbers."""
        query = select(schema.signals).where(schema.signals.c.number < (before or schema.NO_END)).limit(limit)
        query = query.where(schema.signals.c.repo == repo) if repo else query
        if unopened:
            query = query.where(schema.signals.c.item == "").order_by(schema.signals.c.number)
        else:
            query = query.order_by(schema.signals.c.number.desc())
        with self.database.reading() as connection:
            return [(Signal.model_validate_json(row.body), row.item) for row in connection.execute(query)]

    def signal_of_key(self, repo: str, key: str) -> tuple[Signal, str] | None:
        """The signal a repository files under a sender's key, with the id of its item; None when there is none."""
        with self.database.reading() as connection:
            row = connection.execute(select(schema.signals).filter_by(repo=repo, key=key)).first()
        return (Signal.model_validate_json(row.body), row.item) if row and key else None

    def signals_of_keys(self, repo: str, keys: Sequence[str]) -> dict[str, Signal]:
        """The signals that a repository files under some of these keys, by key."""
        columns, found = schema.signals.c, {}
        with self.database.reading() as connection:
            for start in range(0, len(keys), KEYS_AT_ONCE):
                some = columns.key.in_(keys[start : start + KEYS_AT_ONCE])
                rows = connection.execute(select(columns.key, columns.body).where(columns.repo == repo, some))
                found.update({key: Signal.model_validate_json(body) for key, body in rows})
        return found

    def open_item(self, signal_id: str, outcome: Outcome) -> WorkItem:
        """Open the item of a signal (W-7 for S-7). A signal that has one already keeps it: safe to repeat."""
        number = int(signal_id.removeprefix("S-"))
        with self.database.writing() as connection:
            present = connection.scalar(select(schema.items.c.body).filter_by(number=number))
            if present is not None:
                return WorkItem.model_validate_json(present)
            now = self.clock.now()
            item = outcome.item.with_(id=item_of(signal_id), created=now, updated=now)
            connection.execute(
                insert(schema.items).values(number=number, created=item.created.isoformat(), **columns(item))
            )
            connection.execute(update(schema.signals).where(schema.signals.c.id == signal_id).values(item=item.id))
            payload = {"stage": "signal", "from": "", "to": item.state, "reason": outcome.reason, "by": outcome.by,
                       "wall_seconds": 0.0, "facts": {**outcome.facts, "signal": signal_id}}  # fmt: skip
            self.append_in(connection, Event(kind=Fact.ITEM_OPENED, subject=item.id, payload=payload))
            return item

    # --- items

    def item(self, id: str) -> WorkItem:
        """Raises NotFound."""
        with self.database.reading() as connection:
            body = connection.scalar(select(schema.items.c.body).filter_by(id=id))
        if body is None:
            raise NotFound(f"there is no item {id!r}", "`appliance item list` shows all")
        return WorkItem.model_validate_json(body)

    def items(self, repo: str = "", states: Sequence[State] = (), limit: int = 1000, before: int = 0) -> list[WorkItem]:
        """Items, newest first; `before`: only those with a smaller number."""
        query = select(schema.items.c.body).where(schema.items.c.number < (before or schema.NO_END)).limit(limit)
        query = query.order_by(schema.items.c.number.desc())
        query = query.where(schema.items.c.repo == repo) if repo else query
        query = query.where(schema.items.c.state.in_([str(state) for state in states])) if states else query
        with self.database.reading() as connection:
            return [WorkItem.model_validate_json(body) for body in connection.scalars(query)]

    def counts(self) -> dict[str, int]:
        """How many items are in each state."""
        query = select(schema.items.c.state, func.count()).group_by(schema.items.c.state)
        with self.database.reading() as connection:
            return {state: count for state, count in connection.execute(query)}  # noqa: C416 - typed

    # --- commands

    def command(self, item_id: str, verb: str, by: str, text: str = "") -> int:
        """Append what a person asks of an item. Raises NotFound, or Conflict when the item's state forbids it."""
        if verb == "merge":
            self.check_merge(item_id, text)
        with self.database.writing() as connection:
            row = connection.execute(select(schema.items.c.state).filter_by(id=item_id)).first()
            if row is None:
                raise NotFound(f"there is no item {item_id!r}", "`appliance item list` shows all")
            check_legal(verb, item_id, State(row.state))
            number = (connection.scalar(select(func.max(schema.commands.c.number))) or 0) + 1
            at = self.clock.now().isoformat()
            connection.execute(
                insert(schema.commands).values(number=number, item=item_id, verb=verb, by=by, text=text, at=at)
            )
            payload = {"number": number, "verb": verb, "by": by, "text": text}
            self.append_in(connection, Event(kind=Fact.COMMAND_GIVEN, subject=item_id, payload=payload))
            return number

    def check_merge(self, item_id: str, other: str) -> None:
        """Raises NotFound, or Conflict when there is nothing in the other item that could carry on for both."""
        into = self.item(other)
        if other == item_id:
            raise Conflict(f"{item_id} cannot be a duplicate of itself", "name another item")
        if into.state in ENDED and into.state is not State.CLOSED:
            last = f"name {into.duplicate_of}" if into.state is State.DUPLICATE else f"retry {other} first"
            raise Conflict(f"{other} is {into.state}: it does not carry on for {item_id}", f"{last}, or another item")

    def open_commands(self) -> list[Command]:
        """Commands not yet applied, oldest first."""
        query = select(schema.commands).where(schema.commands.c.applied == 0).order_by(schema.commands.c.number)
        with self.database.reading() as connection:
            return [
                Command(number=row.number, item=row.item, verb=row.verb, by=row.by, text=row.text)
                for row in connection.execute(query)
            ]

    # --- repositories

    def add_repository(self, repository: TrackedRepository) -> None:
        """Raises Conflict when the name is taken."""
        with self.database.writing() as connection:
            if connection.scalar(select(schema.repositories.c.name).filter_by(name=repository.name)):
                raise Conflict(f"there is a repository {repository.name!r} already", "choose another name")
            connection.execute(
                insert(schema.repositories).values(name=repository.name, body=repository.model_dump_json())
            )
            payload = repository.model_dump(mode="json")
            self.append_in(connection, Event(kind=Fact.REPOSITORY_ADDED, subject=repository.name, payload=payload))

    def change_repository(self, name: str, **changes: Any) -> TrackedRepository:
        """Change some fields of a repository; returns it as it is now. Raises NotFound."""
        with self.database.writing() as connection:
            body = connection.scalar(select(schema.repositories.c.body).filter_by(name=name))
            if body is None:
                raise NotFound(f"there is no repository {name!r}", self._known_repositories(connection))
            changed = TrackedRepository.model_validate_json(body).with_(**changes)
            connection.execute(
                update(schema.repositories)
                .where(schema.repositories.c.name == name)
                .values(body=changed.model_dump_json())
            )
            payload = changed.model_dump(mode="json", include=set(changes))
            self.append_in(connection, Event(kind=Fact.REPOSITORY_CHANGED, subject=name, payload=payload))
            return changed

    def remove_repository(self, name: str) -> None:
        """Raises NotFound, or Conflict while items of it are open."""
        self.repository(name)
        with self.database.writing() as connection:
            ended = [str(state) for state in ENDED]
            busy = connection.scalars(
                select(schema.items.c.id).where(schema.items.c.repo == name, schema.items.c.state.not_in(ended))
            ).all()
            if busy:
                raise Conflict(f"{name} has open items: {', '.join(busy)}", "cancel them first, or wait until they end")
            connection.execute(delete(schema.repositories).where(schema.repositories.c.name == name))
            connection.execute(delete(schema.mirrors).where(schema.mirrors.c.repo == name))
            self.append_in(connection, Event(kind=Fact.REPOSITORY_REMOVED, subject=name))

    def repository(self, name: str) -> TrackedRepository:
        """Raises NotFound."""
        with self.database.reading() as connection:
            body = connection.scalar(select(schema.repositories.c.body).filter_by(name=name))
            if body is None:
                raise NotFound(f"there is no repository {name!r}", self._known_repositories(connection))
        return TrackedRepository.model_validate_json(body)

    def repositories(self) -> list[TrackedRepository]:
        """All, by name."""
        with self.database.reading() as connection:
            bodies = connection.scalars(select(schema.repositories.c.body).order_by(schema.repositories.c.name))
            return [TrackedRepository.model_validate_json(body) for body in bodies]

    @staticmethod
    def _known_repositories(connection: Connection) -> str:
        names = connection.scalars(select(schema.repositories.c.name).order_by(schema.repositories.c.name)).all()
        return f"known: {', '.join(names)}" if names else "add one with `appliance repo add NAME --url URL`"

    # --- watermarks

    def watermark(self, name: str) -> int:
        """Up to which event a reader has come."""
        with self.database.reading() as connection:
            return connection.scalar(select(schema.watermarks.c.seq).filter_by(name=name)) or 0

    def set_watermark(self, name: str, seq: int) -> None:
        """Note how far a reader has come."""
        statement = upsert(schema.watermarks).values(name=name, seq=seq)
        with self.database.writing() as connection:
            connection.execute(statement.on_conflict_do_update(index_elements=["name"], set_={"seq": seq}))


def columns(item: WorkItem) -> dict[str, Any]:
    """The row of an item, less its claim."""
    return {
        "id": item.id, "state": str(item.state), "stage": item.stage, "repo": item.repo, "title": item.title,
        "severity": item.severity, "updated": item.updated.isoformat(), "body": item.model_dump_json(),
        "kind": str(item.kind), "twin": item.duplicate_of,
    }  # fmt: skip


def recorded(row: Any) -> Recorded:
    return Recorded(
        seq=row.seq, at=row.at, kind=row.kind, subject=row.subject, payload=json.loads(row.payload),
        prev=row.prev, hash=row.hash,
    )  # fmt: skip


def open_ledger(home: Home | Path, clock: Clock | None = None) -> Ledger:
    """Open the home's ledger, making or migrating its tables where needed."""
    database = Database(home.ledger if isinstance(home, Home) else home)
    database.migrate()
    return Ledger(database, clock)
