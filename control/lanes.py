"""The floor's picture: which item is in which lane. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from appliance.events import STAGE_FACTS
from appliance.work import Noun, Signal, WorkItem

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


def lanes(items: Sequence[WorkItem], counts: Mapping[str, int], signals: Sequence[Signal] = ()) -> list[Lane]:
    """A lane for each stage in order, drawn with the first of `items` that are in it; `counts` says how many are, by
    the item's own word for its stage. `signals` are those no item was opened for yet."""
    made = []
    for stage in STAGE_FACTS:
        here = [item for item in items if lane_of(item.stage) == stage][:LANE_SHOWS]
        waiting = tuple(signals[:LANE_SHOWS]) if stage == "signal" else ()
        count = sum(many for name, many in counts.items() if lane_of(name) == stage)
        more = max(0, count - len(here)) + (len(signals) - len(waiting) if stage == "signal" else 0)
        made.append(Lane(stage=stage, items=tuple(here), more=more, signals=waiting))
    return made


def lane_of(stage: str) -> str:
    """The lane of a stage that runs next, or that stopped. A name nobody knows counts as triage."""
    return stage if stage in STAGE_FACTS else "triage"
