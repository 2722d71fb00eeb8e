"""The repositories the box looks after."""

from __future__ import annotations

from collections import Counter

from flask import Blueprint, render_template
from flask.typing import ResponseReturnValue

from appliance.ledger.overview import live_counts
from appliance.work import MirrorHealth
from control.desk import desk

blueprint = Blueprint("repositories", __name__, url_prefix="/repositories")


@blueprint.get("")
def index() -> ResponseReturnValue:
    """All repositories with their branch, autonomy, open items, and how their mirrors stand."""
    ledger = desk().ledger
    still: Counter[str] = Counter()
    for _, repo, count in live_counts(ledger):
        still[repo] += count
    mirrors = ledger.forges.all_health()
    known = [(one, still[one.name], mirrors.get(one.name, MirrorHealth())) for one in ledger.repositories()]
    return render_template("repositories.html", seq=ledger.tip()[0], known=known)
