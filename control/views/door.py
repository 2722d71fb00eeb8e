"""Signing in and out."""

from __future__ import annotations

from flask import Blueprint, current_app, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue

from control.gate import Gate
from control.hosts import local_path

blueprint = Blueprint("door", __name__)


@blueprint.route("/sign-in", methods=["GET", "POST"])
def sign_in() -> ResponseReturnValue:
    """The sign-in form, and what it sends: the token. Leads on to the page first asked for."""
    wanted = local_path(request.values.get("next", "/"))
    if request.method == "GET":
        return render_template("sign_in.html", problem=None, next=wanted)
    gate: Gate = current_app.extensions["appliance.gate"]
    gate.sign_in(request.form.get("token", "").strip())
    return redirect(wanted, 303)


@blueprint.post("/sign-out")
def sign_out() -> ResponseReturnValue:
    """End the session of this browser."""
    session.clear()
    return redirect(url_for("door.sign_in"), 303)
