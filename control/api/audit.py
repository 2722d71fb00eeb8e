"""The audit chain for programs."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify, request
from flask.typing import ResponseReturnValue

from appliance.ledger.audit import found, verify_home
from control.api.request import limit, page
from control.desk import desk
from control.trail import asked_for, lines

blueprint = Blueprint("api_audit", __name__, url_prefix="/api/v1/audit")


@blueprint.get("")
def index() -> ResponseReturnValue:
    """Events, newest first; `kind`, `subject`, `person`, `words`, `since`, `until`, `before` (a number) narrow them."""
    events = found(desk().ledger, asked_for(request.args), limit() + 1)
    return page("events", [(event.seq, event.model_dump(mode="json")) for event in events])


@blueprint.post("/verify")
def verify() -> ResponseReturnValue:
    """Walk the whole chain and compare it with the anchor kept outside the database."""
    return jsonify(verify_home(desk().ledger, desk().home).model_dump(mode="json"))


@blueprint.get("/export")
def export() -> ResponseReturnValue:
    """Events with their hashes, a JSON object a line, oldest first; narrowed as the list is."""
    return Response(lines(desk(), asked_for(request.args)), mimetype="application/jsonl")
