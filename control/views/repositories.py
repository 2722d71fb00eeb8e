"""The repositories the box looks after."""

from __future__ import annotations

from flask import Blueprint, render_template
from flask.typing import ResponseReturnValue

from appliance.events import Fact
from appliance.work import ENDED, State
from control.desk import desk

blueprint = Blueprint("repositories", __name__, url_prefix="/repositories")


@blueprint.get("")
def index() -> ResponseReturnValue:
    """All repositories with their branch, autonomy, open items and newest fetch."""
    ledger = desk().ledger
    live = ledger.items(states=tuple(state for state in State if state not in ENDED))
    known = []
    for repository in ledger.repositories():
        open_items = [item for item in live if item.repo == repository.name]
        synced = [e.at for e in ledger.history(repository.name) if e.kind == Fact.REPOSITORY_SYNCED]
        known.append((repository, open_items, synced[-1] if synced else ""))
    return render_template("repositories.html", seq=ledger.tip()[0], known=known)
