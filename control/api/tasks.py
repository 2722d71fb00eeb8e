"""Long commands for programs."""

from __future__ import annotations

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue

from control.desk import desk
from control.gate import person

blueprint = Blueprint("api_tasks", __name__, url_prefix="/api/v1/tasks")


@blueprint.get("")
def index() -> ResponseReturnValue:
    """Tasks under way and those that ended, the newest first."""
    return jsonify(tasks=[one.model_dump(mode="json") for one in desk().tasks.every()])


@blueprint.get("/<id>")
def show(id: str) -> ResponseReturnValue:
    """One task with the end of its log; `done` of `total` bytes while it runs."""
    return jsonify({**desk().tasks.get(id).model_dump(mode="json"), "log": desk().tasks.log(id)})


@blueprint.post("/<id>/stop")
def stop(id: str) -> ResponseReturnValue:
    """End a task's command. Answers 202 with the task as it was."""
    return jsonify(desk().tasks.stop(id).model_dump(mode="json")), 202


@blueprint.post("/<id>/again")
def again(id: str) -> ResponseReturnValue:
    """Ask once more for what failed or was stopped. Answers 202 with the new task."""
    return jsonify(desk().tasks.again(id, person()).model_dump(mode="json")), 202
