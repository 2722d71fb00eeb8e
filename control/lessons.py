"""What a person can do with a lesson: for the pages and the API."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from appliance.errors import UsageError
from appliance.events import Fact
from appliance.ledger import Ledger
from appliance.lesson import MOVES as LIFE
from appliance.lesson import PERSON as BY_PERSON
from appliance.lesson import Lesson, LessonState
from appliance.work import Noun


class LessonVerb(Noun):
    """One move of a lesson, and how it is offered."""

    name: str
    label: str
    to: LessonState
    will: str
    tone: str = "plain"

    def cli(self, id: str) -> str:
        """The same command for a terminal."""
        return f"appliance learn lessons {self.name} {shlex.quote(id)}"


MOVES: Mapping[str, LessonVerb] = {
    verb.name: verb
    for verb in (
        LessonVerb(name="confirm", label="Confirm", to=LessonState.CONFIRMED, tone="good",
                   will="It is used wherever its scope reaches, from the next prompt on."),
        LessonVerb(name="retire", label="Retire", to=LessonState.RETIRED, tone="bad",
                   will="It is used nowhere any more. It is kept, and can be confirmed again."),
    )
}  # fmt: skip


def offered(lesson: Lesson) -> list[LessonVerb]:
    """The moves a person may make from the lesson's state."""
    return [verb for verb in MOVES.values() if BY_PERSON in LIFE.get((lesson.state, verb.to), ())]


LIVED = {
    Fact.LESSON_PROPOSED: "proposed", Fact.LESSON_CONFIRMED: "confirmed", Fact.LESSON_DECAYED: "decayed",
    Fact.LESSON_RETIRED: "retired", Fact.LESSON_EDITED: "edited",
}  # fmt: skip
"""Facts of a lesson's life; its uses are told apart."""


def history(ledger: Ledger, id: str) -> list[dict[str, Any]]:
    """The steps of a lesson's life, the newest first: what, when, by whom, why, from which state, its words then, and
    the evidence that came with the step."""
    steps: list[dict[str, Any]] = []
    known: list[Any] = []
    for event in ledger.history(id):
        if event.kind not in LIVED:
            continue
        said = event.payload
        fresh = [one for one in said.get("evidence") or () if one not in known]
        known += fresh
        steps.append({
            "event": event.seq, "at": event.at, "what": LIVED[Fact(event.kind)], "before": str(said.get("from", "")),
            "by": str(said.get("by", "")), "why": str(said.get("why", "")), "text": said["lesson"]["text"],
            "evidence": fresh,
        })  # fmt: skip
    return steps[::-1]


def state_of(name: str) -> LessonState | None:
    """The state of this name; None for "". Raises UsageError."""
    if name and name not in set(LessonState):
        raise UsageError(f"there is no state {name!r}", f"one of: {', '.join(LessonState)}")
    return LessonState(name) if name else None
