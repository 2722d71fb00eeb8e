"""The box itself for programs."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify, request
from flask.typing import ResponseReturnValue

from control import support
from control.api.request import limit
from control.desk import desk
from control.system import examined, logs, machine, settings_of, tail

blueprint = Blueprint("api_system", __name__, url_prefix="/api/v1/system")


@blueprint.get("")
def show() -> ResponseReturnValue:
    """The machine and the home on it, in bytes."""
    return jsonify(machine(desk()).model_dump(mode="json"))


@blueprint.get("/settings")
def settings() -> ResponseReturnValue:
    """Every setting in force with its default and its meaning."""
    return jsonify({"settings": [one.model_dump(mode="json") for one in settings_of(desk().settings)]})


@blueprint.post("/doctor")
def doctor() -> ResponseReturnValue:
    """What `appliance doctor` finds, each with its fix; takes seconds."""
    return jsonify({"findings": [one.model_dump(mode="json") for one in examined(desk())]})


@blueprint.post("/support")
def support_bundle() -> ResponseReturnValue:
    """A support bundle (tar, gzip) without secrets; takes seconds. Its `manifest.json` lists what is in it."""
    return Response(support.make(desk()).read_bytes(), mimetype="application/gzip")


@blueprint.get("/logs")
def index() -> ResponseReturnValue:
    """The log files."""
    return jsonify({"logs": [one.model_dump(mode="json") for one in logs(desk())]})


@blueprint.get("/logs/<name>")
def log(name: str) -> ResponseReturnValue:
    """The last lines of a log; `words` narrows them, `limit` says how many."""
    return jsonify({"lines": tail(desk(), name, limit(), request.args.get("words", ""))})
