"""The floor: is all well, and what needs me?"""

from __future__ import annotations

from flask import Blueprint, render_template
from flask.typing import ResponseReturnValue

from appliance.ledger.overview import by_day
from appliance.work import ENDED, State, WorkItem, utcnow
from control.desk import desk
from control.health import read_health
from control.lanes import lanes, needing_people
from control.story import step

blueprint = Blueprint("floor", __name__)

LIVE_STATES = tuple(state for state in State if state not in ENDED)
SAMPLE = "sample"
"""The repository that `make run` brings along to show the main job once."""
RECENT = 8
DAYS = 14
"""Drawn of the throughput."""


@blueprint.get("/")
def show() -> ResponseReturnValue:
    """The floor: lanes with live items, what needs a person, the health of all processes, the newest events."""
    ledger = desk().ledger
    seq, _ = ledger.tip()
    live = ledger.items(states=LIVE_STATES)
    unopened = [signal for signal, _ in ledger.signals(unopened=True)]
    return render_template(
        "floor.html",
        seq=seq,
        lanes=lanes(live, unopened),
        waiting=needing_people(live),
        counts=ledger.counts(),
        ended=ledger.items(states=tuple(ENDED), limit=RECENT),
        health=read_health(desk().home),
        sample=_sample(),
        days=by_day(ledger, DAYS, utcnow().date()),
        newest=[(event, step(event)) for event in reversed(ledger.tail(max(0, seq - RECENT)))],
    )


def _sample() -> WorkItem | None:
    newest = desk().ledger.items(repo=SAMPLE, limit=1)
    return newest[0] if newest else None
