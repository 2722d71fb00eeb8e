"""Is a replay due, and of whom: when something changed that decides who repairs, at most once in a while. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from appliance.line.replay.book import Run, Story
from appliance.line.replay.tasks import AUTO, EARLIER, NO_SETUP, Setup


class Due(NamedTuple):
    """A replay that is due."""

    contenders: tuple[str, ...]
    why: str


def rested(story: Story, added: datetime, now: datetime, days: float) -> bool:
    """May this repository be replayed again? What was cut off goes on at once, else `days` lie between two runs, and
    before the first one. `added` is when the box began to look after it."""
    last = story.runs[-1] if story.runs else None
    if last is not None and last.why and not last.ended:
        return True
    since = last.at if last is not None and last.at is not None else added
    return now - since >= timedelta(days=days)


def due(story: Story, setup: Setup) -> Due | None:
    """Whom to replay now that `setup` decides who repairs; None where nothing has changed."""
    last = story.runs[-1] if story.runs else None
    if last is not None and last.why and not last.ended and last.setup == setup:
        return Due(_as_it_began(story, last), last.why)
    known = [run for run in story.runs if run.setup != NO_SETUP]
    for model in setup.models if known else ():
        if model not in known[0].setup.models and not _tried(known, model):
            return Due((_id(model), AUTO), f"{model} is new")
    earlier = [run for run in known if run.ended and AUTO in run.contenders]
    if not earlier:
        return Due((AUTO,), "nothing is there yet that later ones can be compared with")
    if earlier[-1].setup.order != setup.order:
        return Due(
            (AUTO, EARLIER), f"the order of models was {_said(earlier[-1].setup.order)}, and is {_said(setup.order)}"
        )
    return None


def _as_it_began(story: Story, run: Run) -> tuple[str, ...]:
    before = any(one.ended and AUTO in one.contenders for one in story.runs)
    return (AUTO, EARLIER) if run.contenders == (AUTO,) and before else run.contenders


def _tried(runs: Sequence[Run], model: str) -> bool:
    return any(run.ended and _id(model) in run.contenders and model in run.setup.models for run in runs)


def _id(model: str) -> str:
    """Of id:digest."""
    return model.rpartition(":")[0] or model


def _said(order: Sequence[str]) -> str:
    return ", ".join(order) or "nobody"
