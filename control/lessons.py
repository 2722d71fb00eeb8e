"""What a person can do with a lesson: for the pages and the API."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from appliance.errors import UsageError
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


def state_of(name: str) -> LessonState | None:
    """The state of this name; None for "". Raises UsageError."""
    if name and name not in set(LessonState):
        raise UsageError(f"there is no state {name!r}", f"one of: {', '.join(LessonState)}")
    return LessonState(name) if name else None
