"""The repositories the box looks after."""

from __future__ import annotations

from flask import Blueprint, render_template
from flask.typing import ResponseReturnValue

from appliance.work import ENDED, MirrorHealth, State
from control.desk import desk

blueprint = Blueprint("repositories", __name__, url_prefix="/repositories")


@blueprint.get("")
def index() -> ResponseReturnValue:
    """All repositories with their branch, autonomy, open items, and how their mirrors stand."""
    ledger = desk().ledger
    live = ledger.items(states=tuple(state for state in State if state not in ENDED))
    mirrors = ledger.forges.all_health()
    known = [
        (one, [item for item in live if item.repo == one.name], mirrors.get(one.name, MirrorHealth()))
        for one in ledger.repositories()
    ]
    return render_template("repositories.html", seq=ledger.tip()[0], known=known)
