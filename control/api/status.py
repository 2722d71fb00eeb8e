"""How the box is, for programs."""

from __future__ import annotations

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue

from appliance import __version__
from control.desk import desk
from control.health import read_health

blueprint = Blueprint("api_status", __name__, url_prefix="/api/v1/status")


@blueprint.get("")
def show() -> ResponseReturnValue:
    """Version, items by state, the newest event's number, processes and engines."""
    health = read_health(desk().home)
    return jsonify(
        {
            "version": __version__, "well": health.well, "problems": health.problems, "items": desk().ledger.counts(),
            "events": desk().ledger.tip()[0],
            "processes": [part.model_dump(mode="json") for part in health.processes],
            "engines": [part.model_dump(mode="json") for part in health.engines],
        }
    )  # fmt: skip
