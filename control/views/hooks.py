"""Where forges and alert managers deliver: checked, kept, answered; the line reads it later.

No session and no CSRF token here: the signature over the raw body is the key. Whoever keeps failing has to wait.
"""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import UTC, datetime

from flask import Blueprint, abort, current_app, jsonify, request
from flask.blueprints import BlueprintSetupState
from flask.typing import ResponseReturnValue

from appliance.errors import NotFound, VerificationFailed
from appliance.intake import hook_secrets, reading
from appliance.intake.hook_secrets import HookSecrets
from control.desk import desk
from control.gate import TooManyTries, WrongSignature
from control.throttle import Throttle

blueprint = Blueprint("hooks", __name__, url_prefix="/hooks")

THROTTLE = "appliance.hooks"
STALL_SECONDS = 10.0
"""Longest time a sender may be silent within its message; then it counts as gone, and its thread is free."""


@blueprint.record_once
def _with_throttle(state: BlueprintSetupState) -> None:
    state.app.extensions[THROTTLE] = Throttle(time.monotonic)


@blueprint.post("/<source>/<repo>")
def take(source: str, repo: str) -> ResponseReturnValue:
    """Take a webhook of a forge or of Alertmanager for a repository; its signature is the key, not a session."""
    ledger, settings = desk().ledger, desk().settings.intake
    request.max_content_length = settings.max_mb * 1024 * 1024
    if request.mimetype != "application/json":
        abort(415, "send application/json")
    kept = _secrets(source, repo)
    socket = request.environ.get("gunicorn.socket")
    if socket is not None:  # gunicorn takes it back when the next request of this connection comes
        socket.settimeout(STALL_SECONDS)
    body = request.get_data(cache=False)
    throttle: Throttle = current_app.extensions[THROTTLE]
    try:
        delivery = reading.receive(source, repo, dict(request.headers), body, kept.valid(datetime.now(UTC)))
    except VerificationFailed as error:
        wait = throttle.failed(request.remote_addr or "?")
        if wait:
            raise TooManyTries(wait) from error
        raise WrongSignature(error.message, error.hint) from error
    throttle.succeeded(request.remote_addr or "?")
    delivery, new = ledger.deliveries.take(delivery, body)
    return jsonify({"delivery": delivery.number, "seen_already": not new}), 202 if new else 200


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
