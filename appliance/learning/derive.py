"""What an event becomes in the star tables. Pure, and forgiving: an odd payload gives fewer rows, never an error.

The ledger is append-only and its payloads were written by every release there was, so a reader that stops at one it
does not understand would stop for ever.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from appliance.events import STAGE_FACTS, Fact
from appliance.learning.tables import TABLES
from appliance.ledger.chain import Recorded, canonical
from appliance.work import Result

Row = dict[str, Any]

FROM_EVENTS = ("events", "items", "stage_runs", "attempts", "verdicts", "decisions")
"""Tables with rows that come from events."""

NO_DECISION: Row = {
    name: "" if kind == "VARCHAR" else 0 if kind in ("BIGINT", "INTEGER") else None
    for name, kind in TABLES["decisions"].items()
} | {"policy_version": None}

STAGE_ENDS = frozenset(str(fact) for fact in STAGE_FACTS.values())
VERDICTS = frozenset(str(result) for result in Result)


@dataclass
class Batch:
    """Rows to insert by table, and the last word on items that were there before or came in this batch."""

    rows: dict[str, list[Row]] = field(default_factory=lambda: {table: [] for table in FROM_EVENTS})
    signals: dict[str, Row] = field(default_factory=dict)


def derive(events: Iterable[Recorded]) -> Batch:
    """All rows of a batch of events, in order."""
    batch = Batch()
    for event in events:
        at = moment(event.at)
        batch.rows["events"].append(
            {"seq": event.seq, "happened": at, "kind": event.kind, "subject": event.subject,
             "payload": canonical(event.payload)}
        )  # fmt: skip
        if event.kind == Fact.SIGNAL_RECEIVED:
            batch.signals[event.subject] = {name: text(event.payload.get(name)) for name in ("repo", "title", "source")}
        elif event.kind in STAGE_ENDS and event.payload.get("stage"):
            _stage_end(batch, event, at)
        elif event.kind == Fact.COMMAND_APPLIED:
            _change(batch, event, at)
    return batch


def _stage_end(batch: Batch, event: Recorded, at: datetime) -> None:
    said = event.payload
    known = {"seq": event.seq, "happened": at, "item": event.subject}
    stage, facts = text(said.get("stage")), mapping(said.get("facts"))
    batch.rows["stage_runs"].append(
        {**known, "stage": stage, "before": text(said.get("from")), "after": text(said.get("to")),
         "decided_by": text(said.get("by")), "wall_seconds": figure(said.get("wall_seconds")),
         "reason": text(said.get("reason"))}
    )  # fmt: skip
    if stage == "build":
        batch.rows["attempts"] += [{**known, **row} for row in attempts(facts)]
        batch.rows["decisions"] += [{**row, **known, "stage": stage} for row in decision(facts)]
    batch.rows["verdicts"] += [
        {**known, "decided_by": text(said.get("by")), **row} for row in verdicts(stage, facts, text(said.get("reason")))
    ]
    _change(batch, event, at)


def _change(batch: Batch, event: Recorded, at: datetime) -> None:
    """An item's newest state, as one row that the store folds into the item's."""
    said, facts = event.payload, mapping(event.payload.get("facts"))
    learned = facts if event.kind == Fact.OUTCOME_LEARNED else {}
    by_itself, since = learned.get("without_a_person"), learned.get("seconds_from_signal")
    batch.rows["items"].append(
        {"item": event.subject, "signal": text(facts.get("signal")) if event.kind == Fact.ITEM_OPENED else None,
         "opened": at if event.kind == Fact.ITEM_OPENED else None, "state": text(said.get("to")),
         "stage": text(said.get("stage")) or None, "changed": at, "seq": event.seq,
         "wall_seconds": figure(said.get("wall_seconds")), "strategy": text(learned.get("strategy")) or None,
         "model": text(learned.get("model")) or None,
         "without_a_person": by_itself if isinstance(by_itself, bool) else None,
         "seconds_from_signal": figure(since) if since is not None else None}
    )  # fmt: skip


def attempts(facts: Mapping[str, Any]) -> list[Row]:
    """The attempts one run of the build stage tells of.

    >>> attempts({"rule": "r", "attempt 2": {"strategy": "search", "outcome": "none", "tried": 3}})[0]["n"]
    2
    """
    found = []
    for name, told in facts.items():
        word, _, number = name.partition(" ")
        if word != "attempt" or not number.isdecimal() or not isinstance(told, Mapping):
            continue
        found.append(
            {"n": int(number), "strategy": text(told.get("strategy")), "model": text(told.get("model")),
             "outcome": text(told.get("outcome")), "tried": int(figure(told.get("tried"))),
             "plausible": int(figure(told.get("plausible"))), "wall_seconds": figure(told.get("seconds")),
             "rule": text(facts.get("rule"))}
        )  # fmt: skip
    return sorted(found, key=lambda row: int(row["n"]))


def decision(facts: Mapping[str, Any]) -> list[Row]:
    """The choice the build stage had from the router: no call's line tells it, as `search` is none.

    >>> decision({"rule": "r", "candidates": ["search", "m"], "attempt 2": {}})[0]["candidates"]
    ['search', 'm']
    """
    candidates = facts.get("candidates")
    if not text(facts.get("rule")) or not isinstance(candidates, list | tuple):
        return []
    tries = [row["n"] for row in attempts(facts)]
    return [
        {**NO_DECISION, "source": "line", "task": "repair", "asked_model": "auto", "attempt": min(tries, default=0),
         "rule": text(facts.get("rule")), "candidates": [text(name) for name in candidates],
         "chosen": text(candidates[0]) if candidates else "", "explored": False}
    ]  # fmt: skip


def verdicts(stage: str, facts: Mapping[str, Any], reason: str) -> list[Row]:
    """The verdicts a stage's facts hold: one of the stage itself, or one for each gate inside it.

    >>> verdicts("test", {"verdict": "PASS"}, "all pass")
    [{'gate': 'test', 'verdict': 'PASS', 'reason': 'all pass'}]
    """
    told = {stage: facts, **{gate: inner for gate, inner in facts.items() if isinstance(inner, Mapping)}}
    return [
        {"gate": gate, "verdict": str(inner["verdict"]), "reason": text(inner.get("reason")) or reason}
        for gate, inner in told.items()
        if text(inner.get("verdict")) in VERDICTS
    ]


def moment(at: str) -> datetime:
    """The ledger's time as UTC without a zone, which is what DuckDB's TIMESTAMP keeps."""
    return datetime.fromisoformat(at).astimezone(UTC).replace(tzinfo=None)


def text(value: Any) -> str:
    """A word or sentence; "" for nothing."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, default=str)


def figure(value: Any) -> float:
    """A finite number to the ledger's three digits; 0 for anything else."""
    good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return round(float(value), 3) if good else 0.0


def mapping(value: Any) -> Mapping[str, Any]:
    """An object; an empty one for anything else."""
    return value if isinstance(value, Mapping) else {}
