"""Where forges and alert managers deliver: checked, kept, answered; the line reads it later.

No session and no CSRF token here: the signature over the raw body is the key. Whoever keeps failing has to wait, and
so has who holds the key and sends too much. What is turned away is counted.
"""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import UTC, datetime

from flask import Blueprint, Response, abort, current_app, jsonify, request
from flask.blueprints import BlueprintSetupState
from flask.typing import ResponseReturnValue

from appliance.errors import NotFound, VerificationFailed
from appliance.intake import hook_secrets, reading
from appliance.intake.hook_secrets import HookSecrets
from appliance.work import utcnow
from control.desk import desk
from control.gate import TooFast, TooManyTries, WrongSignature
from control.pace import Pace
from control.throttle import Throttle
from control.turned_away import UNKNOWN, TurnedAway
from control.whole_body import whole_body

blueprint = Blueprint("hooks", __name__, url_prefix="/hooks")

THROTTLE = "appliance.hooks"
PACE = "appliance.hooks.pace"
TURNED_AWAY = "appliance.hooks.turned_away"
REASONS = {413: "too_large", 415: "not_json"}
"""Status → reason that is counted; of any other answer it is the error's code."""
STALL_SECONDS = 10.0
"""Longest time a sender may be silent within its message; then it counts as gone, and its thread is free."""


@blueprint.record_once
def _with_counts(state: BlueprintSetupState) -> None:
    state.app.extensions[THROTTLE] = Throttle(time.monotonic)
    state.app.extensions[PACE] = Pace(time.monotonic)
    state.app.extensions[TURNED_AWAY] = TurnedAway(utcnow)


@blueprint.post("/<source>/<repo>")
def take(source: str, repo: str) -> ResponseReturnValue:
    """Take a webhook of a forge or of Alertmanager for a repository; its signature is the key, not a session."""
    ledger, settings = desk().ledger, desk().settings.intake
    if request.mimetype != "application/json":
        abort(415, "send application/json")
    kept = _secrets(source, repo)
    socket = request.environ.get("gunicorn.socket")
    if socket is not None:  # gunicorn takes it back when the next request of this connection comes
        socket.settimeout(STALL_SECONDS)
    body = whole_body(settings)
    throttle: Throttle = current_app.extensions[THROTTLE]
    try:
        delivery = reading.receive(source, repo, dict(request.headers), body, kept.valid(datetime.now(UTC)))
    except VerificationFailed as error:
        wait = throttle.failed(request.remote_addr or "?")
        if wait:
            raise TooManyTries(wait) from error
        raise WrongSignature(error.message, error.hint) from error
    throttle.succeeded(request.remote_addr or "?")
    pace: Pace = current_app.extensions[PACE]
    wait = pace.wait(repo, settings.hooks_per_minute)  # signed by now: a stranger cannot use up the senders' room
    if wait:
        raise TooFast(wait)
    delivery, new = ledger.deliveries.take(delivery, body)
    return jsonify({"delivery": delivery.number, "seen_already": not new}), 202 if new else 200


@blueprint.after_request
def _count(response: Response) -> Response:
    """Count a refusal, wherever it was made: here, by the gate, or while the body was read."""
    if 400 <= response.status_code < 500:
        reason = REASONS.get(response.status_code) or response.get_json()["error"]["code"]
        turned_away().note(_known((request.view_args or {}).get("repo", "")), reason)
    return response


def turned_away() -> TurnedAway:
    """What was turned away since this console started."""
    found: TurnedAway = current_app.extensions[TURNED_AWAY]
    return found


def _known(repo: str) -> str:
    """The repository's name, or one word for all names that are none's."""
    with suppress(NotFound):
        return desk().ledger.repository(repo).name
    return UNKNOWN


def _secrets(source: str, repo: str) -> HookSecrets:
    """What the senders of a repository sign with. Raises NotFound, in the same words whatever is missing."""
    kept = None
    if source in reading.SENDERS:
        with suppress(NotFound):
            desk().ledger.repository(repo)
            kept = hook_secrets.load(desk().home, repo)
    if kept is None:
        raise NotFound("there is no such hook", "`appliance repo hook NAME` makes one and shows its address")
    return kept
