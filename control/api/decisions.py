"""Decisions of the router and the line for programs."""

from __future__ import annotations

from flask import Blueprint, jsonify, request
from flask.typing import ResponseReturnValue

from control.api.request import limit
from control.decisions import narrowed
from control.paging import onward
from control.questions import plain
from control.views.decisions import decided

blueprint = Blueprint("api_decisions", __name__, url_prefix="/api/v1/decisions")


@blueprint.get("")
def index() -> ResponseReturnValue:
    """What was asked, chosen and why, and what came of it, newest first; `repo`, `item`, `rule`, `chosen`, `source`,
    `days` and `limit` narrow the list, `before` leads on. Decisions of one moment stay together."""
    found = decided(narrowed(request.args), limit())
    address = onward(found[-1].moment) if len(found) >= limit() else ""
    return jsonify({"decisions": plain([one.model_dump(mode="json") for one in found]), "next": address})
