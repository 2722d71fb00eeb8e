"""The floor's picture: which item is in which lane, and what needs a person. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from appliance.events import STAGE_FACTS
from appliance.work import ENDED, Noun, Signal, State, WorkItem

LANE_SHOWS = 6
"""Items drawn in one lane; the rest is a number."""


class Lane(Noun):
    """One stage with what is in it now."""

    stage: str
    items: tuple[WorkItem, ...]
    more: int = 0
    signals: tuple[Signal, ...] = ()

    @property
    def count(self) -> int:
        return len(self.items) + len(self.signals) + self.more


def lanes(items: Sequence[WorkItem], signals: Sequence[Signal] = ()) -> list[Lane]:
    """A lane for each stage in order; `signals` are those no item was opened for yet. Ended items are in no lane."""
    made = []
    for stage in STAGE_FACTS:
        here = [item for item in items if item.state not in ENDED and lane_of(item) == stage]
        waiting = tuple(signals[:LANE_SHOWS]) if stage == "signal" else ()
        more = max(0, len(here) - LANE_SHOWS) + (len(signals) - len(waiting) if stage == "signal" else 0)
        made.append(Lane(stage=stage, items=tuple(here[:LANE_SHOWS]), more=more, signals=waiting))
    return made


def lane_of(item: WorkItem) -> str:
    """The stage an item is in: the one that runs next, or that stopped. A name nobody knows counts as triage."""
    return item.stage if item.stage in STAGE_FACTS else "triage"


def needing_people(items: Sequence[WorkItem]) -> list[WorkItem]:
    """What waits for a person, worst first, then longest waiting."""
    waiting = [item for item in items if item.state == State.NEEDS_HUMAN]
    return sorted(waiting, key=lambda item: (item.severity, item.updated))
