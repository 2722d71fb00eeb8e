"""The first-run guide: what a new box still needs, step by step."""

from __future__ import annotations

from flask import Blueprint, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from appliance.errors import UsageError
from control.desk import desk
from control.gate import person
from control.guide import ALL, NAMES, guide, mark

blueprint = Blueprint("guide", __name__, url_prefix="/guide")


@blueprint.get("")
def show() -> ResponseReturnValue:
    """The first steps on a new box, and how each stands."""
    return render_template("guide.html", seq=desk().ledger.tip()[0], guide=guide(desk()), all=ALL)


@blueprint.post("")
def note() -> ResponseReturnValue:
    """Skip a step, put the guide away, or take either back."""
    set_mark(request.form.get("step", ""), request.form.get("mark", ""))
    away = request.form.get("mark") == "away"
    return redirect(url_for("floor.show" if away else "guide.show"), 303)


def set_mark(step: str, what: str) -> None:
    """Write a mark down in the name of who asks. Raises UsageError for what is none."""
    fits = what == "back" or what == ("away" if step == ALL else "skipped")
    if step not in (*NAMES, ALL) or not fits:
        raise UsageError(
            f"{step!r} cannot be {what!r}", f"a step ({', '.join(NAMES)}) is skipped, {ALL} put away; both come back"
        )
    mark(desk().ledger, step, what, person())
