"""The live stream."""

from __future__ import annotations

from flask import Blueprint, Response, current_app, request
from flask.typing import ResponseReturnValue

from appliance.errors import UsageError
from control.desk import desk
from control.gate import ended
from control.live import Places, has_left, stream

blueprint = Blueprint("events", __name__)

PLACES = "appliance.places"


@blueprint.record_once
def _make_places(setup: object) -> None:
    app = setup.app  # type: ignore[attr-defined]
    threads = app.extensions["appliance.desk"].settings.console.threads
    app.extensions[PLACES] = Places(max(1, threads // 2))  # the other half answers requests


@blueprint.get("/events")
def events() -> ResponseReturnValue:
    """Events as they happen (server-sent). Ids are the ledger's numbers; `Last-Event-ID` or `?after=` resumes."""
    here = desk()
    after = _resume_from(request.headers.get("Last-Event-ID") or request.args.get("after"), here.ledger.tip()[0])
    places: Places = current_app.extensions[PLACES]
    connection = request.environ.get("gunicorn.socket")
    over = ended()
    places.take()

    body = stream(here.ledger, after, lambda: here.stopping() or over(), lambda: has_left(connection))
    headers = {"X-Accel-Buffering": "no", "Cache-Control": "no-store"}
    response = Response(body, mimetype="text/event-stream", headers=headers)
    response.call_on_close(places.give_back)  # also for a browser that left before the first event
    return response


def _resume_from(given: str | None, tip: int) -> int:
    if given is None or given == "":
        return tip
    if not given.isdecimal() or len(given) > 18:
        raise UsageError(f"{given!r} is no event number", "send the id of the last event you saw")
    return int(given)
