"""Messages from outside for programs."""

from __future__ import annotations

from flask import Blueprint, jsonify, request
from flask.typing import ResponseReturnValue

from appliance.intake.shown import as_data
from control.api.request import limit, page
from control.desk import desk
from control.intake import delivery_shown, delivery_state
from control.paging import before
from control.views.hooks import turned_away

blueprint = Blueprint("api_deliveries", __name__, url_prefix="/api/v1/deliveries")


@blueprint.get("")
def index() -> ResponseReturnValue:
    """Messages from outside, newest first; `repo`, `state` and `limit` narrow the list, `before` leads on.
    Refusals are counted."""
    state = delivery_state(request.args.get("state", ""))
    repo, refused = request.args.get("repo", ""), turned_away()
    found = desk().ledger.deliveries.list(repo, state, limit() + 1, before())
    told = [(one.number, one.model_dump(mode="json")) for one in found]
    return page("deliveries", told, turned_away=refused.as_data(repo))


@blueprint.get("/<int:number>")
def show(number: int) -> ResponseReturnValue:
    """One message: what came of it, what it is read as (`told`), and what was sent (`raw`, without secrets)."""
    return jsonify(as_data(*delivery_shown(desk().ledger, number)))


@blueprint.post("/<int:number>/replay")
def replay(number: int) -> ResponseReturnValue:
    """Let the line work on a message once more. Answers 202 with the message."""
    return jsonify(desk().ledger.deliveries.again(number).model_dump(mode="json")), 202
