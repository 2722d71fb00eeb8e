"""The proof that nothing was altered: the chain walked from its start, and an anchor kept outside the database; and
what is looked for in it.

The chain shows edits, deletions and reordering. It cannot show that its newest rows were cut off; for that the line
writes an anchor (number and hash of the newest event, with an HMAC by the box's audit key) beside the ledger.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import Field
from sqlalchemy import Select, or_, select

from appliance.config import Home
from appliance.errors import ConfigError, VerificationFailed
from appliance.ledger import schema
from appliance.ledger.chain import Recorded, canonical, first_break
from appliance.ledger.store import Ledger, recorded
from appliance.work import Noun


class Verification(Noun):
    """What `audit verify` found."""

    events: int
    tip: str
    anchored: int
    ok: bool
    problem: str = ""


class Search(Noun):
    """What is looked for. Everything that is named must hold; what is empty is not asked."""

    kind: str = Field("", description="a fact, like SessionOpened")
    subject: str = Field("", description="an item, a signal, `user NAME` and so on")
    person: str = Field("", description="who did it")
    words: str = Field("", description="anywhere in what is kept of it")
    since: datetime | None = None
    until: datetime | None = None
    before: int = Field(0, ge=0, description="only events with a smaller number; 0: the newest ones too")


def found(ledger: Ledger, asked: Search, most: int) -> list[Recorded]:
    """The newest events that fit, at most so many."""
    with ledger.database.reading() as connection:
        query = _query(asked).order_by(schema.events.c.seq.desc()).limit(most)
        return [recorded(row) for row in connection.execute(query)]


def whole(ledger: Ledger, asked: Search) -> Iterator[Recorded]:
    """Every event that fits, oldest first, as it is read: for export."""
    with ledger.database.reading() as connection:
        query = _query(asked).order_by(schema.events.c.seq)
        for row in connection.execution_options(yield_per=1000).execute(query):
            yield recorded(row)


def doer(event: Recorded) -> str:
    """Who did it, as far as the event knows."""
    actor = event.payload.get("actor") or {}
    return str(actor.get("name") or event.payload.get("by") or "")


def where(event: Recorded) -> str:
    """The address it was done from."""
    return str((event.payload.get("actor") or {}).get("address") or event.payload.get("address") or "")


def _query(asked: Search) -> Select[Any]:
    """Payloads have one spelling per value, so a name in them can be looked for as text."""
    columns = schema.events.c
    query = select(schema.events)
    for column, wanted in ((columns.kind, asked.kind), (columns.subject, asked.subject)):
        query = query.where(column == wanted) if wanted else query
    if asked.person:
        named = [canonical({field: asked.person})[1:-1] for field in ("by", "name")]
        query = query.where(or_(*(columns.payload.contains(one, autoescape=True) for one in named)))
    if asked.words:
        query = query.where(columns.payload.contains(asked.words, autoescape=True))
    if asked.since:
        query = query.where(columns.at >= _spelled(asked.since))
    if asked.until:
        query = query.where(columns.at < _spelled(asked.until))
    return query.where(columns.seq < asked.before) if asked.before else query


def _spelled(moment: datetime) -> str:
    """As events carry it, so that texts compare as times do. A time without a zone is taken as UTC."""
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC).isoformat(timespec="milliseconds")


def write_anchor(file: Path, seq: int, tip: str, key: bytes) -> None:
    """Note the newest event, atomically."""
    content = json.dumps({"seq": seq, "hash": tip, "mac": _mac(seq, tip, key)})
    temporary = file.with_suffix(f".{os.getpid()}")
    temporary.write_text(content, encoding="ascii")
    temporary.replace(file)


def read_anchor(file: Path, key: bytes) -> tuple[int, str]:
    """The anchored event; (0, "") before the first. Raises VerificationFailed when the anchor was altered."""
    if not file.exists():
        return 0, ""
    try:
        kept = json.loads(file.read_text(encoding="ascii"))
        seq, tip, mac = int(kept["seq"]), str(kept["hash"]), str(kept["mac"])
    except (ValueError, KeyError, TypeError) as error:
        raise VerificationFailed(f"the audit anchor {file} cannot be read", "restore it from a backup") from error
    if not hmac.compare_digest(mac, _mac(seq, tip, key)):
        raise VerificationFailed(f"the audit anchor {file} was altered", "compare the ledger with a backup")
    return seq, tip


def verify(ledger: Ledger, anchor: Path, key: bytes) -> Verification:
    """Walk the whole chain and compare it with the anchor."""
    anchored, anchored_tip = read_anchor(anchor, key)
    events, tip, problem = first_break(ledger.raw_events())
    if not problem and anchored > events:
        problem = f"{anchored - events} newest events are missing: {anchored} were anchored, {events} are left"
    elif not problem and anchored and ledger.hash_of(anchored) != anchored_tip:
        problem = f"event {anchored} is not the one that was anchored"
    return Verification(events=events, tip=tip, anchored=anchored, ok=not problem, problem=problem)


def verify_home(ledger: Ledger, home: Home) -> Verification:
    """Walk the chain of a home's ledger, about 100,000 events a second.

    Raises:
        ConfigError: there is no audit key to prove anything with.
        VerificationFailed: the anchor itself was altered.
    """
    try:
        key = (home.secrets / "audit.key").read_bytes()
    except OSError as error:
        raise ConfigError("this home has no audit key", "`appliance init` makes one") from error
    return verify(ledger, home.secrets / "ledger.anchor", key)


def _mac(seq: int, tip: str, key: bytes) -> str:
    return hmac.new(key, f"{seq}:{tip}".encode(), hashlib.sha256).hexdigest()
