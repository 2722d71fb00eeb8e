"""What people and the outside world tell: signals, incidents, reviews, and the life of lessons. Pure."""

from __future__ import annotations

import re

from appliance.learning.said import Row, figure, mapping, text, whole
from appliance.ledger.chain import Recorded
from appliance.work import Kind

REVIEWS = frozenset({"approve", "answer", "retry", "merge", "reject", "cancel", "revise"})
"""Verbs that people say of an item; the others are what a forge told."""

REVERTED = re.compile(r"(W-\d+) was reverted: ")
"""How the line titles the incident of a change that did not hold."""


def signal(event: Recorded) -> Row:
    """A signal's row."""
    said = event.payload
    return {"signal": event.subject, **{name: text(said.get(name)) for name in
            ("repo", "title", "source", "kind", "author", "key")}}  # fmt: skip


def incident(event: Recorded) -> list[Row]:
    """The incident that a signal tells of; `item` is whose release it was, where the line itself says so."""
    said = event.payload
    if text(said.get("kind")) != Kind.INCIDENT:
        return []
    about = REVERTED.match(text(said.get("title"))) if said.get("source") == "monitor" else None
    row = {name: text(said.get(name)) for name in ("repo", "title", "source")}
    return [{"signal": event.subject, "item": about.group(1) if about else "", **row}]


def review(event: Recorded) -> list[Row]:
    """A person's word about an item."""
    said = event.payload
    verb = text(said.get("verb"))
    return [{"item": event.subject, "person": text(said.get("by")), "verb": verb, "words": text(said.get("text"))}
            for _ in range(verb in REVIEWS)]  # fmt: skip


def lesson(event: Recorded) -> Row:
    """A move in a lesson's life, with the lesson as it was after it."""
    said, told = event.payload, mapping(event.payload.get("lesson"))
    scope = mapping(told.get("scope"))
    return {
        "lesson": event.subject, "before": text(said.get("from")), "state": text(said.get("to")),
        "decided_by": text(said.get("by")), "why": text(said.get("why")), "words": text(told.get("text")),
        "source": text(told.get("source")), "home": text(told.get("home")), "support": whole(told.get("support")),
        **{name: text(scope.get(name)) for name in ("repo", "path", "language", "stage", "role")},
    }  # fmt: skip


def lesson_use(event: Recorded) -> Row:
    """A lesson that went into a prompt."""
    said = event.payload
    return {"lesson": event.subject, "item": text(said.get("item")), "round": whole(said.get("round")),
            "rank": whole(said.get("rank")), "score": figure(said.get("score")),
            **{name: text(said.get(name)) for name in ("stage", "role", "how")}}  # fmt: skip
