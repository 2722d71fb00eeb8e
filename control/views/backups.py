"""Backups: when the last one was made, how large, whether it was proved; and one now."""

from __future__ import annotations

from flask import Blueprint, redirect, render_template, url_for
from flask.typing import ResponseReturnValue

from control import backups
from control.desk import desk
from control.gate import person

blueprint = Blueprint("backups", __name__, url_prefix="/backups")


@blueprint.get("")
def index() -> ResponseReturnValue:
    """The backups there are, how old the newest is, and who can open them."""
    return render_template("backups.html", seen=backups.read(desk()))


@blueprint.post("")
def make() -> ResponseReturnValue:
    """Back up now; leads to the task."""
    return redirect(url_for("tasks.show", id=backups.make(desk(), person()).id), 303)
