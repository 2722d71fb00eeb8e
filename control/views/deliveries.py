"""Deliveries: every message from outside, what came of it and why."""

from __future__ import annotations

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from appliance.news import DeliveryState
from control.desk import desk
from control.intake import delivery_shown, delivery_state
from control.paging import before, onward
from control.views.hooks import turned_away

blueprint = Blueprint("deliveries", __name__, url_prefix="/deliveries")

PAGE = 200


@blueprint.get("")
def index() -> ResponseReturnValue:
    """All messages from outside, newest first; `?state=` and `?repo=` narrow the list, `?before=` leads on."""
    ledger = desk().ledger
    state, repo = request.args.get("state", ""), request.args.get("repo", "")
    found = ledger.deliveries.list(repo, delivery_state(state), PAGE, before())
    return render_template(
        "deliveries.html", deliveries=found, state=state, repo=repo, states=list(DeliveryState),
        older=onward(found[-1].number) if len(found) == PAGE else "",
        repositories=ledger.repositories(), refused=turned_away().counts(repo), since=turned_away().since,
    )  # fmt: skip


@blueprint.get("/<int:number>")
def show(number: int) -> ResponseReturnValue:
    """One message: what came of it and why, what it is read as, and what was sent."""
    delivery, seen = delivery_shown(desk().ledger, number)
    return render_template("delivery.html", delivery=delivery, seen=seen)


@blueprint.post("/<int:number>/replay")
def replay(number: int) -> ResponseReturnValue:
    """Let the line work on a message once more."""
    desk().ledger.deliveries.again(number)
    flash(f"Delivery {number} waits for the line again.")
    return redirect(url_for("deliveries.show", number=number), 303)
