"""Who may use the box: accounts, their roles, where they are signed in, what their programs use."""

from __future__ import annotations

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from pydantic import ValidationError

from appliance.errors import FactoryError, UsageError
from appliance.user import MAY, Role, User
from control import accounts
from control.accounts import NewUser
from control.desk import desk
from control.gate import http_status, person

blueprint = Blueprint("access", __name__, url_prefix="/access")


@blueprint.get("")
def index() -> ResponseReturnValue:
    """All accounts, sessions and tokens, and a form that lets somebody in."""
    return _list()


@blueprint.post("/users")
def add() -> ResponseReturnValue:
    """Let somebody in; the answer shows the password for the first sign-in, once."""
    form = request.form
    try:
        new = NewUser(name=form.get("name", ""), role=_role(), full_name=form.get("full_name", "").strip())
        user, first = accounts.add(desk().ledger, new, person())
    except ValidationError:
        error = UsageError("the name cannot be one", "1 to 64 lower-case letters, digits and . _ @ -")
        return _list(error), 400
    except FactoryError as error:
        return _list(error), http_status(error)
    return _one(user.name, first)


@blueprint.get("/users/<name>")
def show(name: str) -> ResponseReturnValue:
    """One account, and what can be done to it."""
    return _one(name)


@blueprint.post("/users/<name>/role")
def role(name: str) -> ResponseReturnValue:
    """Give another role; the person is signed out."""
    desk().ledger.users.change(name, person(), role=_role())
    flash(f"{name} is {_role()} now, and signed out.")
    return redirect(url_for("access.show", name=name), 303)


@blueprint.post("/users/<name>/disable")
def disable(name: str) -> ResponseReturnValue:
    """Shut somebody out, at once."""
    desk().ledger.users.change(name, person(), disabled=True)
    flash(f"{name} is shut out.")
    return redirect(url_for("access.show", name=name), 303)


@blueprint.post("/users/<name>/enable")
def enable(name: str) -> ResponseReturnValue:
    """Let somebody in again."""
    desk().ledger.users.change(name, person(), disabled=False)
    flash(f"{name} may sign in again.")
    return redirect(url_for("access.show", name=name), 303)


@blueprint.post("/users/<name>/password")
def password(name: str) -> ResponseReturnValue:
    """A new password for one sign-in; the answer shows it, once."""
    user, first = accounts.reset(desk().ledger, name, person())
    return _one(user.name, first)


@blueprint.post("/users/<name>/codes-off")
def codes_off(name: str) -> ResponseReturnValue:
    """Ask for no one-time codes any more: for a lost phone."""
    desk().ledger.users.set_codes(name, person(), "", ())
    flash(f"{name} signs in without one-time codes until new ones are set up.")
    return redirect(url_for("access.show", name=name), 303)


@blueprint.post("/sessions/<id>/end")
def end_session(id: str) -> ResponseReturnValue:
    """Sign a browser out."""
    ended = desk().ledger.sessions.end(id, person(), "ended by an administrator")
    flash("That browser is signed out.")
    return redirect(url_for("access.show", name=ended.user) if ended.user else url_for("access.index"), 303)


@blueprint.post("/tokens/<id>/revoke")
def revoke_token(id: str) -> ResponseReturnValue:
    """End a token at once."""
    ended = desk().ledger.sessions.revoke_token(id, person())
    flash("The token is revoked.")
    return redirect(url_for("access.show", name=ended.user), 303)


def _list(problem: FactoryError | None = None) -> str:
    ledger = desk().ledger
    sessions = ledger.sessions.of()
    return render_template(
        "access.html", users=ledger.users.all(), sessions=sessions, roles=MAY, problem=problem, form=request.form,
        signed_in_now={one.user for one in sessions},
    )  # fmt: skip


def _one(name: str, first: str = "") -> str:
    ledger = desk().ledger
    user: User = ledger.users.get(name)
    return render_template(
        "person.html", user=user, sessions=ledger.sessions.of(name), tokens=ledger.sessions.tokens(name), roles=MAY,
        first=first,
    )  # fmt: skip


def _role() -> Role:
    asked = request.form.get("role", "")
    if asked not in set(Role):
        raise UsageError(f"there is no role {asked!r}", f"one of: {', '.join(Role)}")
    return Role(asked)
