"""The floor: is all well, and what needs me?"""

from __future__ import annotations

from collections import Counter

from flask import Blueprint, render_template
from flask.typing import ResponseReturnValue

from appliance.ledger.overview import by_day, live_counts, newest_ended, newest_live, worst_waiting
from appliance.work import WorkItem, utcnow
from control.backups import concern as backup_concern
from control.certificate import concern
from control.desk import desk
from control.guide import guide
from control.health import read_health
from control.lanes import LANE_SHOWS, lanes
from control.story import step

blueprint = Blueprint("floor", __name__)

SAMPLE = "sample"
"""The repository that `make run` brings along to show the main job once."""
RECENT = 8
WAITING = 20
"""Shown of what needs a person; the rest is a number."""
DAYS = 14
"""Drawn of the throughput."""


@blueprint.get("/")
def show() -> ResponseReturnValue:
    """The floor: lanes with live items, what needs a person, the health of all processes, the newest events."""
    ledger = desk().ledger
    seq, _ = ledger.tip()
    stages: Counter[str] = Counter()
    for stage, _, count in live_counts(ledger):
        stages[stage] += count
    unopened = [signal for signal, _ in ledger.signals(unopened=True)]
    return render_template(
        "floor.html",
        seq=seq,
        lanes=lanes(newest_live(ledger, LANE_SHOWS), stages, unopened),
        waiting=worst_waiting(ledger, WAITING),
        counts=ledger.counts(),
        ended=newest_ended(ledger, RECENT),
        health=read_health(desk().home),
        guide=guide(desk()),
        certificate=concern(desk()),
        sample=_sample(),
        backup=backup_concern(desk()),
        days=by_day(ledger, DAYS, utcnow().date()),
        newest=[(event, step(event)) for event in reversed(ledger.tail(max(0, seq - RECENT), RECENT))],
    )


def _sample() -> WorkItem | None:
    newest = desk().ledger.items(repo=SAMPLE, limit=1)
    return newest[0] if newest else None
