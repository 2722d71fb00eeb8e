"""What an event becomes in the star tables. Pure, and forgiving: an odd payload gives fewer rows, never an error.

The ledger is append-only and its payloads were written by every release there was, so a reader that stops at one it
does not understand would stop for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson

from appliance.events import STAGE_FACTS, Fact
from appliance.learning.derive_build import attempts, candidates, decision, maker
from appliance.learning.derive_gates import findings, release, reverted, verdicts
from appliance.learning.derive_told import incident, lesson, lesson_use, review, signal
from appliance.learning.said import Row, figure, mapping, moment, text
from appliance.ledger.chain import Recorded, canonical
from appliance.secrets import may_hold_a_secret, redact
from appliance.work import Result

FROM_EVENTS = (
    "events", "stage_runs", "attempts", "verdicts", "decisions", "signals", "candidates", "findings",
    "reviews", "releases", "incidents", "lessons", "lesson_uses",
)  # fmt: skip
"""Tables with rows that come from events."""

LESSON_MOVES = (
    Fact.LESSON_PROPOSED, Fact.LESSON_CONFIRMED, Fact.LESSON_DECAYED, Fact.LESSON_RETIRED, Fact.LESSON_EDITED,
)  # fmt: skip

STAGE_ENDS = frozenset(str(fact) for fact in STAGE_FACTS.values())


@dataclass
class Batch:
    """Rows to insert by table, and what is to be said of rows that were there before or came in this batch."""

    rows: dict[str, list[Row]] = field(default_factory=lambda: {table: [] for table in FROM_EVENTS})
    moves: list[Row] = field(default_factory=list)
    """What is to be folded into items: ends of stages, commands, and what people said (these have a `verb`)."""
    objections: list[Row] = field(default_factory=list)
    """Every FAIL of a gate other than the tests', in the same order, still without repository and maker."""
    signals: dict[str, Row] = field(default_factory=dict)
    reverts: list[Row] = field(default_factory=list)
    """Releases of `item` before `seq` that were taken back at `happened` by the commit `revert`."""


def derive(events: Iterable[Recorded]) -> Batch:
    """All rows of a batch of events, in order, without what looks like a secret: people put them into reports."""
    batch = Batch()
    for event in events:
        at, spelled = moment(event.at), _spelled(_without_vector(event.payload))
        if may_hold_a_secret(spelled):
            event = event.model_copy(update={"payload": redacted(event.payload)})
            spelled = _spelled(_without_vector(event.payload))
        batch.rows["events"].append(
            {"seq": event.seq, "happened": at, "kind": event.kind, "subject": event.subject, "payload": spelled}
        )
        if event.kind in STAGE_ENDS:
            if event.payload.get("stage"):
                _stage_end(batch, event, at)
        elif event.kind in READERS:
            READERS[event.kind](batch, event, at)
    return batch


def redacted(value: Any) -> Any:
    """A JSON value with marks in place of secrets in each of its texts."""
    if isinstance(value, str):
        return redact(value)[0]
    if isinstance(value, Mapping):
        return {key: redacted(inner) for key, inner in value.items()}
    return [redacted(inner) for inner in value] if isinstance(value, list | tuple) else value


def _without_vector(payload: Mapping[str, Any]) -> Mapping[str, Any]:
    """A report's vector is kept once, in `decisions`, where it goes when texts go."""
    facts = payload.get("facts")
    if not isinstance(facts, Mapping) or "meaning" not in facts:
        return payload
    return {**payload, "facts": {name: said for name, said in facts.items() if name != "meaning"}}


def _spelled(payload: Mapping[str, Any]) -> str:
    """One spelling for each value. Numbers beyond 64 bits are for the slower of the two writers."""
    try:
        return orjson.dumps(payload, option=orjson.OPT_SORT_KEYS).decode()
    except TypeError:
        return canonical(payload)


def _signal(batch: Batch, event: Recorded, at: datetime) -> None:
    row = signal(event)
    known = {name: row[name] for name in ("repo", "title", "source")}
    batch.signals[event.subject] = {**known, "signalled": at, "seq": event.seq}
    batch.rows["signals"].append({"seq": event.seq, "happened": at, **row})
    batch.rows["incidents"] += [{"seq": event.seq, "happened": at, **row} for row in incident(event)]


def _command(batch: Batch, event: Recorded, at: datetime) -> None:
    rows = [{"seq": event.seq, "happened": at, **row} for row in review(event)]
    batch.rows["reviews"] += rows
    batch.moves += [{"seq": row["seq"], "item": row["item"], "verb": row["verb"]} for row in rows]


def _lesson(batch: Batch, event: Recorded, at: datetime) -> None:
    batch.rows["lessons"].append({"seq": event.seq, "happened": at, **lesson(event)})


def _lesson_use(batch: Batch, event: Recorded, at: datetime) -> None:
    batch.rows["lesson_uses"].append({"seq": event.seq, "happened": at, **lesson_use(event)})


def _stage_end(batch: Batch, event: Recorded, at: datetime) -> None:
    said = event.payload
    known = {"seq": event.seq, "happened": at, "item": event.subject}
    stage, facts = text(said.get("stage")), mapping(said.get("facts"))
    batch.rows["stage_runs"].append(
        {**known, "stage": stage, "before": text(said.get("from")), "after": text(said.get("to")),
         "decided_by": text(said.get("by")), "wall_seconds": figure(said.get("wall_seconds")),
         "reason": text(said.get("reason"))}
    )  # fmt: skip
    more: Row = {}
    if stage == "build":
        tries = attempts(facts)
        more = {"built": True, "maker": maker(tries)}
        batch.rows["attempts"] += [{**known, **row} for row in tries]
        batch.rows["candidates"] += [{**known, **row} for row in candidates(facts)]
        batch.rows["decisions"] += [{**row, **known, "stage": stage} for row in decision(facts)]
    if stage == "ship":
        released = release(text(said.get("to")), facts)
        more = {"shipped": at} if released else {}
        batch.rows["releases"] += [{**known, "decided_by": text(said.get("by")), **row} for row in released]
    if stage == "monitor" and (commit := reverted(text(said.get("to")), facts)) is not None:
        batch.reverts.append({**known, "revert": commit})
        more = {"taken_back": True}
    batch.rows["findings"] += [{**known, **row} for row in findings(stage, facts)]
    for row in verdicts(stage, facts, text(said.get("reason"))):
        batch.rows["verdicts"].append({**known, "decided_by": text(said.get("by")), **row})
        if row["verdict"] == Result.FAIL and row["gate"] != "test":
            batch.objections.append({**known, "gate": row["gate"], "fate": "open"})
    _change(batch, event, at, more)


def _change(batch: Batch, event: Recorded, at: datetime, more: Row | None = None) -> None:
    """An item's newest state, as one move that the store folds into the item's row."""
    said, facts = event.payload, mapping(event.payload.get("facts"))
    learned = facts if event.kind == Fact.OUTCOME_LEARNED else {}
    by_itself, since = learned.get("without_a_person"), learned.get("seconds_from_signal")
    batch.moves.append(
        {"item": event.subject, "signal": text(facts.get("signal")) if event.kind == Fact.ITEM_OPENED else None,
         "opened": at if event.kind == Fact.ITEM_OPENED else None, "state": text(said.get("to")),
         "stage": text(said.get("stage")) or None, "changed": at, "seq": event.seq,
         "wall_seconds": figure(said.get("wall_seconds")), "strategy": text(learned.get("strategy")) or None,
         "model": text(learned.get("model")) or None,
         "without_a_person": by_itself if isinstance(by_itself, bool) else None,
         "seconds_from_signal": figure(since) if since is not None else None, **(more or {})}
    )  # fmt: skip


Reader = Callable[[Batch, Recorded, datetime], None]

READERS: Mapping[str, Reader] = {
    Fact.SIGNAL_RECEIVED: _signal,
    Fact.COMMAND_GIVEN: _command,
    Fact.COMMAND_APPLIED: _change,
    **dict.fromkeys(LESSON_MOVES, _lesson),
    Fact.LESSON_USED: _lesson_use,
}
"""kind of event → who reads it, beside the ends of stages."""
