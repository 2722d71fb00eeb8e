"""Signing in, step by step, and out."""

from __future__ import annotations

from flask import Blueprint, current_app, g, make_response, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue
from itsdangerous import BadData, URLSafeTimedSerializer
from pydantic import ValidationError

from appliance.errors import FactoryError, NotFound
from appliance.user import CONSOLE, Owed, Session
from control.desk import desk
from control.gate import STEPS, http_status, the_gate
from control.hosts import local_path
from control.identity_provider import IdentityProvider, Pending
from control.refusals import ComeLater, NotSignedIn

blueprint = Blueprint("door", __name__)

PENDING = "appliance_sign_in"
PENDING_SECONDS = 600
"""How long somebody may take at the identity provider."""


@blueprint.route("/sign-in", methods=["GET", "POST"])
def sign_in() -> ResponseReturnValue:
    """The sign-in form, and what it sends: a name and a password, or the box's token. Leads on to the page first asked
    for, over the one-time code or a new password where they are owed."""
    wanted = local_path(request.values.get("next", "/"))
    if request.method == "GET":
        return _form(wanted)
    try:
        if request.form.get("token"):
            the_gate().sign_in_with_token(request.form["token"].strip())
            return redirect(wanted, 303)
        opened = the_gate().sign_in_with_password(request.form.get("name", ""), request.form.get("password", ""))
    except FactoryError as error:
        return _form(wanted, error)
    return _on_to(opened, wanted)


@blueprint.get("/sign-in/provider")
def ask_provider() -> ResponseReturnValue:
    """Lead the browser to the site's identity provider."""
    wanted = local_path(request.args.get("next", "/"))
    try:
        url, pending = _provider().begin(_back(), wanted)
    except FactoryError as error:
        return _form(wanted, error)
    answer = redirect(url, 303)
    # not the session's cookie: that one stays away when another site leads the browser back
    answer.set_cookie(
        PENDING, _sealer().dumps(pending.model_dump(mode="json")), max_age=PENDING_SECONDS, httponly=True,
        samesite="Lax", secure=desk().settings.console.secure, path="/sign-in/",
    )  # fmt: skip
    return answer


@blueprint.get("/sign-in/provider/back")
def back_from_provider() -> ResponseReturnValue:
    """What the identity provider led back with: a code that proves who signed in there."""
    try:
        pending = Pending.model_validate(_sealer().loads(request.cookies.get(PENDING, ""), max_age=PENDING_SECONDS))
    except (BadData, ValidationError):
        return _form("/", NotSignedIn("the sign-in took too long, or began in another browser", "sign in again"))
    try:
        answered = _back() + "?" + request.query_string.decode("ascii", "replace")
        the_gate().sign_in_for(_provider().finish(_back(), pending, answered))
    except FactoryError as error:
        answer = make_response(_form(pending.next, error))
    else:
        # a page of ours leads on: a browser that another site led here keeps the new cookie to itself until then
        answer = make_response(render_template("signed_in.html", next=local_path(pending.next)))
    answer.delete_cookie(PENDING, path="/sign-in/")
    return answer


def _provider() -> IdentityProvider:
    found = the_gate().provider
    if found is None:
        raise NotFound("this box knows no identity provider", "console.oidc_issuer names one")
    return found


def _back() -> str:
    """The address that the provider leads back to; it must be known there."""
    own = desk().settings.console.url or request.url_root.rstrip("/")
    return own + url_for("door.back_from_provider")


def _sealer() -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(str(current_app.secret_key), salt="identity provider")


@blueprint.route("/sign-in/code", methods=["GET", "POST"])
def give_code() -> ResponseReturnValue:
    """The second step: the code of a phone, or a recovery code."""
    return _step(Owed.CODE, "code")


@blueprint.route("/sign-in/password", methods=["GET", "POST"])
def give_password() -> ResponseReturnValue:
    """The last step with a password that somebody else gave: one of one's own."""
    return _step(Owed.PASSWORD, "password")


@blueprint.post("/sign-out")
def sign_out() -> ResponseReturnValue:
    """End the session of this browser."""
    opened: Session | None = the_gate().opened()
    if opened:
        desk().ledger.sessions.end(opened.id, opened.user or CONSOLE, "signed out")
    session.clear()
    return redirect(url_for("door.sign_in"), 303)


def _step(step: Owed, field: str) -> ResponseReturnValue:
    wanted = local_path(session.get("next", "/"))
    if request.method == "GET":
        return render_template("sign_in_step.html", step=str(step), problem=None)
    owed: Session = g.session
    given = request.form.get(field, "")
    take = the_gate().signing_in.give_code if step == Owed.CODE else the_gate().signing_in.give_password
    try:
        opened = the_gate().go_on(take(owed, given))
    except FactoryError as error:
        return _refused(render_template("sign_in_step.html", step=str(step), problem=error), error)
    return _on_to(opened, wanted)


def _on_to(opened: Session, wanted: str) -> ResponseReturnValue:
    if opened.owes == Owed.NOTHING:
        return redirect(wanted, 303)
    session["next"] = wanted
    return redirect(url_for(STEPS[opened.owes]), 303)


def _form(wanted: str, error: FactoryError | None = None) -> ResponseReturnValue:
    people = desk().ledger.users.any()
    page = render_template(
        "sign_in.html",
        problem=error,
        next=wanted,
        people=people,
        name=request.form.get("name", "")[:64],
        provider=the_gate().provider is not None,
    )
    return _refused(page, error) if error else page


def _refused(page: str, error: FactoryError) -> ResponseReturnValue:
    answer = make_response(page, http_status(error))
    if isinstance(error, ComeLater):
        answer.headers["Retry-After"] = str(error.seconds)
    return answer
