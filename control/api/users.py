"""Accounts for programs: `/me` for one's own, `/users` for administrators."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, jsonify, url_for
from flask.typing import ResponseReturnValue

from appliance.errors import PolicyRefused
from appliance.user import CONSOLE
from control import accounts
from control.accounts import NewToken, NewUser, UserChange
from control.api.request import body, if_unchanged
from control.desk import desk
from control.gate import person, who_asks

own = Blueprint("api_me", __name__, url_prefix="/api/v1/me")
blueprint = Blueprint("api_users", __name__, url_prefix="/api/v1/users")


@own.get("")
def show_own() -> ResponseReturnValue:
    """On whose behalf the request is answered: name, role, scopes."""
    who = who_asks()
    return jsonify({"name": who.name, "role": who.role, "scopes": sorted(who.scopes)})


@own.get("/tokens")
def tokens() -> ResponseReturnValue:
    """One's own tokens, newest first, without what they let in with."""
    return jsonify({"tokens": [one.model_dump(mode="json") for one in desk().ledger.sessions.tokens(person())]})


@own.post("/tokens")
def add_token() -> ResponseReturnValue:
    """Make a token: `{"name", "scopes", "days"}`. Answers 201 with it and its text, which is never shown again."""
    if who_asks().name == CONSOLE or who_asks().token:
        raise PolicyRefused("this needs a person's own session", "sign in by name and password")
    user = desk().ledger.users.get(person())
    secret, kept = accounts.token(desk().ledger, user, NewToken.model_validate(body()))
    return jsonify({**kept.model_dump(mode="json"), "token": secret}), 201


@own.delete("/tokens/<id>")
def revoke_token(id: str) -> ResponseReturnValue:
    """End a token of one's own at once."""
    return jsonify(desk().ledger.sessions.revoke_token(id, person(), person()).model_dump(mode="json"))


@blueprint.get("")
def index() -> ResponseReturnValue:
    """Every account, by name."""
    return jsonify({"users": [user.model_dump(mode="json") for user in desk().ledger.users.all()]})


@blueprint.post("")
def add() -> ResponseReturnValue:
    """Let somebody in: `{"name", "role", "full_name"}`. Answers 201 with the account and the password for the first
    sign-in, which is never shown again."""
    user, first = accounts.add(desk().ledger, NewUser.model_validate(body()), person())
    told = {**user.model_dump(mode="json"), "password": first}
    return jsonify(told), 201, {"Location": url_for("api_users.show", name=user.name)}


@blueprint.get("/<name>")
def show(name: str) -> ResponseReturnValue:
    """One account, with its tokens and where it is signed in."""
    return jsonify(_told(name))


@blueprint.patch("/<name>")
def change(name: str) -> ResponseReturnValue:
    """Change the role or shut out and let in: `{"role", "disabled"}`, either or both. The person is signed out.
    With `If-Match` only while the account is as it was read."""
    asked = UserChange.model_validate(body())
    if_unchanged(_told(name))
    desk().ledger.users.change(name, person(), role=asked.role, disabled=asked.disabled)
    return jsonify(_told(name))


@blueprint.post("/<name>/password")
def password(name: str) -> ResponseReturnValue:
    """A new password for one sign-in, in the answer, which is never shown again."""
    user, first = accounts.reset(desk().ledger, name, person())
    return jsonify({**user.model_dump(mode="json"), "password": first})


@blueprint.delete("/<name>/sessions/<id>")
def end_session(name: str, id: str) -> ResponseReturnValue:
    """Sign a browser of somebody's out."""
    ended = desk().ledger.sessions.end(id, person(), f"ended by an administrator, of {name}")
    return jsonify(ended.model_dump(mode="json"))


def _told(name: str) -> dict[str, Any]:
    sessions = desk().ledger.sessions
    return {
        **desk().ledger.users.get(name).model_dump(mode="json"),
        "sessions": [one.model_dump(mode="json") for one in sessions.of(name)],
        "tokens": [one.model_dump(mode="json") for one in sessions.tokens(name)],
    }
