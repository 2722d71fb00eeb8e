"""The one question a load balancer asks."""

from __future__ import annotations

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue

from control.desk import desk

blueprint = Blueprint("health", __name__)


@blueprint.get("/healthz")
def healthz() -> ResponseReturnValue:
    """`{"status": "ok"}` while the console can read the ledger; open to everybody, says nothing else."""
    desk().ledger.tip()
    return jsonify({"status": "ok"})
