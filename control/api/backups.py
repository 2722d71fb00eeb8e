"""Backups for programs."""

from __future__ import annotations

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue

from control import backups
from control.desk import desk
from control.gate import person

blueprint = Blueprint("api_backups", __name__, url_prefix="/api/v1/backups")


@blueprint.get("")
def index() -> ResponseReturnValue:
    """How backups stand, and those in the folder, the newest first; sizes in bytes."""
    return jsonify(backups.read(desk()).model_dump(mode="json"))


@blueprint.post("")
def make() -> ResponseReturnValue:
    """Back up now. Answers 202 with the task."""
    return jsonify(backups.make(desk(), person()).model_dump(mode="json")), 202
