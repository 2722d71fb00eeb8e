"""Where forges and alert managers deliver: checked, kept, answered; the line reads it later.

No session and no CSRF token here: the signature over the raw body is the key. Whoever keeps failing has to wait, and
so has who holds the key and sends too much. What is turned away is counted.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from flask import Blueprint, Response, abort, current_app, g, jsonify, request
from flask.blueprints import BlueprintSetupState
from flask.typing import ResponseReturnValue

from appliance.errors import NotFound, VerificationFailed
from appliance.intake import addressed, forms, hook_secrets, reading
from appliance.intake.hook_secrets import HookSecrets
from appliance.news import Delivery
from appliance.work import utcnow
from control.desk import desk
from control.pace import Pace
from control.refusals import TooFast, TooManyTries, WrongSignature
from control.throttle import Throttle
from control.turned_away import UNKNOWN, TurnedAway
from control.whole_body import whole_body
from control.whose import Message, deliveries_of

blueprint = Blueprint("hooks", __name__, url_prefix="/hooks")

THROTTLE = "appliance.hooks"
PACE = "appliance.hooks.pace"
TURNED_AWAY = "appliance.hooks.turned_away"
REASONS = {413: "too_large", 415: "not_json"}
"""Status → reason that is counted; of any other answer it is the error's code."""


@blueprint.record_once
def _with_counts(state: BlueprintSetupState) -> None:
    state.app.extensions[THROTTLE] = Throttle(time.monotonic)
    state.app.extensions[PACE] = Pace(time.monotonic)
    state.app.extensions[TURNED_AWAY] = TurnedAway(utcnow)


@blueprint.post("/<source>/<repo>")
def take(source: str, repo: str) -> ResponseReturnValue:
    """Take a webhook of a forge or of Alertmanager for a repository; its signature is the key, not a session."""
    _check_type(source)
    kept = _secrets(source, repo)
    body, form = _body()
    with _throttled():
        now = utcnow()
        delivery = reading.receive(
            source, repo, dict(request.headers), body, kept.valid(now), now, desk().settings.intake.clock_minutes, form
        )
    _check_pace([delivery])
    delivery, new = desk().ledger.deliveries.take(delivery, body)
    return jsonify({"delivery": delivery.number, "seen_already": not new}), 202 if new else 200


@blueprint.post("/<source>")
def take_shared(source: str) -> ResponseReturnValue:
    """Take a webhook of a whole organisation or group, for the repositories that it names and whose secret signs it."""
    _check_type(source)
    if source not in reading.SENDERS:
        raise _no_hook()
    here = desk()
    body, form = _body()
    now, minutes = utcnow(), here.settings.intake.clock_minutes
    message = Message(source, dict(request.headers), body, addressed.content_of(body), now, minutes, form)
    with _throttled() as throttle:
        thorough = not throttle.waits(request.remote_addr or "?")
        found, worth_keeping = deliveries_of(here.home, here.ledger, message, thorough)
    g.repo = found[0].repo
    _check_pace(found)
    kept = [here.ledger.deliveries.take(one, body if worth_keeping else b"") for one in found]
    told = [{"repository": one.repo, "delivery": one.number, "seen_already": not new} for one, new in kept]
    return jsonify({"deliveries": told}), 202 if any(new for _, new in kept) else 200


def _check_type(source: str) -> None:
    if not forms.is_known(source, request.mimetype):
        abort(415, "send application/json")


def _body() -> tuple[bytes, bytes]:
    """The message, and the form that it came in, if it did."""
    sent = whole_body(desk().settings.intake)
    body = forms.payload(request.mimetype, sent)
    return body, b"" if body is sent else sent


@contextmanager
def _throttled() -> Iterator[Throttle]:
    """Whoever shows no secret within this has to wait the longer the oftener; who shows one is forgiven."""
    throttle: Throttle = current_app.extensions[THROTTLE]
    address = request.remote_addr or "?"
    try:
        yield throttle
    except VerificationFailed as error:
        wait = throttle.failed(address)
        if wait:
            raise TooManyTries(wait) from error
        raise WrongSignature(error.message, error.hint) from error
    throttle.succeeded(address)


def _check_pace(found: Sequence[Delivery]) -> None:
    """Raises TooFast. Its sender has signed by now: a stranger cannot use up the senders' room."""
    pace: Pace = current_app.extensions[PACE]
    wait = max(pace.wait(one.repo, desk().settings.intake.hooks_per_minute) for one in found)
    if wait:
        raise TooFast(wait)


@blueprint.after_request
def _count(response: Response) -> Response:
    """Count a refusal, wherever it was made: here, by the gate, or while the body was read."""
    if 400 <= response.status_code < 500:
        reason = REASONS.get(response.status_code) or response.get_json()["error"]["code"]
        turned_away().note(_known(g.get("repo", "") or (request.view_args or {}).get("repo", "")), reason)
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
        raise _no_hook()
    return kept


def _no_hook() -> NotFound:
    return NotFound("there is no such hook", "`appliance repo hook NAME` makes one and shows its address")
