"""The box itself: processes, machine, settings, logs, and what the doctor says."""

from __future__ import annotations

from flask import Blueprint, render_template, request
from flask.typing import ResponseReturnValue

from control.api.request import limit
from control.certificate import served
from control.desk import desk
from control.health import read_health
from control.system import examined, logs, machine, settings_of, tail

blueprint = Blueprint("system", __name__, url_prefix="/system")


@blueprint.get("")
def index() -> ResponseReturnValue:
    """Processes and engines, the machine, the logs, and every setting in force."""
    return _page()


@blueprint.post("/doctor")
def doctor() -> ResponseReturnValue:
    """Let the doctor look at everything the box stands on; each finding comes with its fix."""
    return _page(findings=examined(desk()))


@blueprint.get("/logs/<name>")
def log(name: str) -> ResponseReturnValue:
    """The end of a log; `?words=` narrows it, `?limit=` says how many lines."""
    words = request.args.get("words", "")
    return render_template("log.html", name=name, lines=tail(desk(), name, limit(), words), words=words, limit=limit())


def _page(findings: object = None) -> str:
    here = desk()
    return render_template(
        "system.html", health=read_health(here.home), machine=machine(here), logs=logs(here),
        settings=settings_of(here.settings), findings=findings,
        certificate=served(here),
    )  # fmt: skip
