"""An item's story, told from its events alone. Pure.

A reader need not know the stages: every stage's end has the same payload (see appliance/events.py).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from appliance.events import Fact
from appliance.ledger.chain import Recorded
from appliance.ledger.legal import WRITTEN
from appliance.work import Noun


class Step(Noun):
    """One thing that happened, in words."""

    seq: int
    at: str
    title: str
    decision: str = ""
    state: str = ""
    reason: str = ""
    by: str = ""
    seconds: float | None = None
    facts: Mapping[str, Any] = {}
    aside: bool = False
    """True for what happened around the stages: commands, pauses, lost workers."""


def story(events: Sequence[Recorded]) -> list[Step]:
    """Every event as a step, oldest first."""
    return [step(event) for event in events]


def step(event: Recorded) -> Step:
    """One event in words."""
    said = event.payload
    known: dict[str, Any] = {"seq": event.seq, "at": event.at, "reason": str(said.get("reason", ""))}
    if event.kind == Fact.COMMAND_GIVEN:
        verb = str(said.get("verb", "?")).replace("_", " ")
        known |= {"title": f"asked to {verb}", "by": f"person:{said.get('by', '?')}", "reason": words_of(said),
                  "aside": True}  # fmt: skip
    elif event.kind == Fact.COMMAND_APPLIED:
        known |= {**_decided(said), "title": "request taken up", "by": str(said.get("by", "")), "aside": True}
    elif event.kind == Fact.STAGE_ERRED:
        known |= {"title": f"{said.get('stage', '?')} put off", "aside": True,
                  "decision": f"tries again in {said.get('retry_in_seconds', '?')} s"}  # fmt: skip
    elif event.kind == Fact.WORKER_LOST:
        known |= {"title": f"worker lost in {said.get('stage', '?')}", "aside": True}
    elif "stage" in said:
        known |= {**_decided(said), "title": str(said["stage"]), "by": str(said.get("by", "")),
                  "seconds": float(said.get("wall_seconds") or 0.0), "facts": said.get("facts") or {}}  # fmt: skip
    else:
        known |= {"title": in_words(event.kind), "facts": said, "aside": True, "reason": str(said.get("title", ""))}
    return Step(**known)


def words_of(said: Mapping[str, Any]) -> str:
    """What a person said with a command; of a plan or a patch, why."""
    text = str(said.get("text", ""))
    if said.get("verb") not in WRITTEN:
        return text
    try:
        return str(json.loads(text).get("why", ""))
    except (ValueError, AttributeError):
        return ""


def in_words(kind: str) -> str:
    """The kind of an event as words.

    >>> in_words("SignalReceived")
    'signal received'
    """
    return re.sub(r"(?<!^)(?=[A-Z])", " ", kind).lower()


def _decided(said: Mapping[str, Any]) -> dict[str, str]:
    before, after = str(said.get("from") or ""), str(said.get("to") or "")
    if not after or before == after:
        return {"decision": f"stays {after}" if after else "", "state": after}
    return {"decision": f"{before} → {after}" if before else after, "state": after}
