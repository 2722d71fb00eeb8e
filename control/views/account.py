"""One's own account: password, one-time codes, sessions, tokens for programs."""

from __future__ import annotations

import socket
from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue

from appliance.errors import FactoryError, PolicyRefused, UsageError
from appliance.user import CONSOLE, SCOPES, User
from control import accounts
from control.accounts import NewToken
from control.desk import desk
from control.gate import http_status, the_gate, who_asks

blueprint = Blueprint("account", __name__, url_prefix="/account")


@blueprint.get("")
def show() -> ResponseReturnValue:
    """The account of who asks: what it may do, where it is signed in, what its programs use."""
    return _page()


@blueprint.post("/password")
def password() -> ResponseReturnValue:
    """Another password; every session ends, this one too."""
    user = _own()
    try:
        _check_password(user)
        accounts.change_own(desk().ledger, user, request.form.get("password", ""))
    except FactoryError as error:
        return _page(problem=error, at="password"), http_status(error)
    session.clear()
    flash("The password is changed. Sign in with it.")
    return redirect(url_for("door.sign_in"), 303)


@blueprint.post("/codes")
def codes() -> ResponseReturnValue:
    """Begin to set up one-time codes: the picture for a phone."""
    user = _own()
    try:
        _check_password(user)
    except FactoryError as error:
        return _page(problem=error, at="codes"), http_status(error)
    made = accounts.enrolment(the_gate().codes, user, socket.gethostname())
    session["enrolment"] = made.sealed
    return _page(enrolment=made, at="codes")


@blueprint.post("/codes/on")
def codes_on() -> ResponseReturnValue:
    """Finish it with a code the phone shows; the answer shows the recovery codes, once."""
    user, sealed = _own(), str(session.get("enrolment", ""))
    if not sealed:
        raise UsageError("no code is being set up", "begin on the page Account")
    try:
        recovery = accounts.codes_on(desk().ledger, the_gate().codes, user, sealed, request.form.get("code", ""))
    except UsageError as error:
        made = accounts.enrolment(the_gate().codes, user, socket.gethostname(), sealed)
        return _page(enrolment=made, problem=error, at="codes"), 400
    session.pop("enrolment")
    return _page(recovery=recovery, at="codes")


@blueprint.post("/codes/off")
def codes_off() -> ResponseReturnValue:
    """Sign in without one-time codes again."""
    user = _own()
    try:
        _check_password(user)
    except FactoryError as error:
        return _page(problem=error, at="codes"), http_status(error)
    desk().ledger.users.set_codes(user.name, user.name, "", ())
    flash("One-time codes are off.")
    return redirect(url_for("account.show"), 303)


@blueprint.post("/sessions/<id>/end")
def end_session(id: str) -> ResponseReturnValue:
    """Sign one of one's browsers out."""
    own = {one.id for one in desk().ledger.sessions.of(_name())}
    if id not in own:
        raise PolicyRefused(f"{id} is no session of yours", "it may have ended already")
    desk().ledger.sessions.end(id, who_asks().name, "signed out from the page Account")
    flash("That browser is signed out.")
    return redirect(url_for("account.show"), 303)


@blueprint.post("/tokens")
def add_token() -> ResponseReturnValue:
    """Make a token for programs; the answer shows it, once."""
    user, form = _own(), request.form
    days = form.get("days", "90")
    try:
        if not days.isdecimal():
            raise UsageError(f"{days!r} is no number of days", f"1 to {accounts.LONGEST_DAYS}")
        asked = NewToken(name=form.get("name", ""), scopes=tuple(form.getlist("scope")), days=int(days[:6]))
        secret, kept = accounts.token(desk().ledger, user, asked)
    except FactoryError as error:
        return _page(problem=error, at="tokens"), http_status(error)
    return _page(secret=secret, fresh=kept, at="tokens")


@blueprint.post("/tokens/<id>/revoke")
def revoke_token(id: str) -> ResponseReturnValue:
    """End a token of one's own at once."""
    desk().ledger.sessions.revoke_token(id, who_asks().name, _own().name)
    flash("The token is revoked.")
    return redirect(url_for("account.show"), 303)


def _page(**more: Any) -> str:
    who, ledger = who_asks(), desk().ledger
    user = None if who.name == CONSOLE else ledger.users.get(who.name)
    may = [(scope, role) for scope, role in SCOPES.items() if who.role.covers(role)]
    shown = {"problem": None, "enrolment": None, "recovery": (), "secret": "", "fresh": None, "at": "", **more}
    return render_template(
        "account.html", user=user, sessions=ledger.sessions.of(_name()), scopes=may,
        tokens=ledger.sessions.tokens(who.name) if user else [], **shown,
    )  # fmt: skip


def _name() -> str:
    name = who_asks().name
    return "" if name == CONSOLE else name


def _own() -> User:
    """The account of who asks. Raises PolicyRefused for the box's own token, and for a token of a program's."""
    who = who_asks()
    if who.name == CONSOLE or who.token:
        raise PolicyRefused("this needs a person's own session", "sign in by name and password")
    return desk().ledger.users.get(who.name)


def _check_password(user: User) -> None:
    the_gate().signing_in.check_own_password(user, request.form.get("current", ""), request.remote_addr or "?")
