"""Signals for programs."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, jsonify, request, url_for
from flask.typing import ResponseReturnValue

from appliance.work import Signal
from control.api.request import body, limit
from control.desk import desk
from control.intake import NewSignal

blueprint = Blueprint("api_signals", __name__, url_prefix="/api/v1/signals")


@blueprint.get("")
def index() -> ResponseReturnValue:
    """Signals, newest first; `repo` and `limit` narrow the list."""
    found = desk().ledger.signals(repo=request.args.get("repo", ""), limit=limit())
    return jsonify({"signals": [_told(signal, item) for signal, item in found]})


@blueprint.get("/<id>")
def show(id: str) -> ResponseReturnValue:
    """One signal."""
    return jsonify(_told(*desk().ledger.signal(id)))


@blueprint.post("")
def file() -> ResponseReturnValue:
    """File a signal: `{"repo", "title", "body", "kind"}`. Answers 201 with the signal."""
    kept = desk().ledger.receive(NewSignal.model_validate(body()).as_signal("api"))
    return jsonify(_told(kept, "")), 201, {"Location": url_for("api_signals.show", id=kept.id)}


def _told(signal: Signal, item: str) -> dict[str, Any]:
    return {**signal.model_dump(mode="json"), "item": item}
