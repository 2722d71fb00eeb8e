"""Policy: how far the box goes without a person, per repository and in words, and what stops it always."""

from __future__ import annotations

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from appliance.autonomy import ALLOWS, effective
from appliance.errors import UsageError
from appliance.work import Autonomy
from control.desk import desk

blueprint = Blueprint("policy", __name__, url_prefix="/policy")


@blueprint.get("")
def show() -> ResponseReturnValue:
    """Autonomy per repository and what each level allows, protected paths, limits of a change, budgets."""
    ledger, settings = desk().ledger, desk().limits.now()
    rows = [(one, effective(settings.autonomy, one)) for one in ledger.repositories()]
    return render_template(
        "policy.html",
        seq=ledger.tip()[0],
        rows=rows,
        allows=ALLOWS,
        settings=settings,
        levels=list(Autonomy),
        broken=desk().limits.problem,
    )


@blueprint.get("/<name>")
def ask(name: str) -> ResponseReturnValue:
    """The question before a repository's autonomy is changed to `?level=`: what it will be, and the same on the CLI."""
    tracked, wanted = desk().ledger.repository(name), level(request.args.get("level", ""))
    after = effective(desk().limits.now().autonomy, tracked.with_(autonomy=wanted))
    return render_template("policy_ask.html", tracked=tracked, wanted=wanted, after=after, allows=ALLOWS)


@blueprint.post("/<name>")
def change(name: str) -> ResponseReturnValue:
    """Change a repository's autonomy; it holds for what is triaged from then on."""
    wanted = level(request.form.get("level", ""))
    was = level(request.form.get("was", ""))
    changed = change_from(name, was, wanted)
    flash(f"{name} has autonomy {changed} now; it holds for what is triaged from here on.")
    return redirect(url_for("policy.show"), 303)


def change_from(name: str, was: Autonomy, wanted: Autonomy) -> Autonomy:
    """Set a repository's autonomy if it still is what the person saw. Raises UsageError, NotFound."""
    now = desk().ledger.repository(name).autonomy
    if now is not was:
        raise UsageError(f"{name} has autonomy {now} meanwhile, not {was}", "look at the page Policy again")
    return desk().ledger.change_repository(name, autonomy=wanted).autonomy


def level(given: str) -> Autonomy:
    """A level by its name. Raises UsageError."""
    if given not in set(Autonomy):
        raise UsageError(f"there is no autonomy {given!r}", f"one of: {', '.join(Autonomy)}")
    return Autonomy(given)
