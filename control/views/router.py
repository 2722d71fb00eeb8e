"""The routing rules: as cards, as a text that is checked and tried out before it is saved, and their versions."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from appliance.errors import FactoryError
from appliance.ledger.routes import Routes, digest
from control.desk import desk
from control.gate import http_status, person
from control.router import MOST_CALLS, cards, check, simulate
from control.texts import compared

blueprint = Blueprint("router", __name__, url_prefix="/router")

VERSIONS = 50
"""On the page."""
LONGEST_WHY = 600


def kept() -> Routes:
    """The rules of the box."""
    return Routes(desk().home, desk().ledger)


def put_in_force(text: str, seen: str, why: str) -> int:
    """Check a text and save it in the name of who asks; its number. Raises ConfigError, Conflict or UsageError."""
    check(desk(), text)
    return kept().save(text, seen, person(), why)


@blueprint.get("")
def index() -> ResponseReturnValue:
    """The rules in force, in order, in words; the first that holds decides."""
    text = kept().text()
    try:
        found, broken = cards(text), ""
    except ValueError as error:
        found, broken = [], str(error)
    versions = kept().versions()
    by_hand = bool(text) and bool(versions) and versions[0].text != text
    return render_template(
        "router.html", cards=found, broken=broken, text=text, versions=versions[:VERSIONS], by_hand=by_hand
    )


@blueprint.get("/edit")
def edit() -> ResponseReturnValue:
    """The rules as a text; `?version=` begins with an earlier one."""
    text, number = kept().text(), request.args.get("version", "")
    begun = kept().version(int(number)).text if number.isdecimal() else text
    why = f"back to version {number}" if number.isdecimal() else ""
    return _page(begun, digest(text), why=why)


@blueprint.post("/edit")
def change() -> ResponseReturnValue:
    """Check a changed text, try it out on recorded calls, or save it; whatever is wrong comes back with the text."""
    text, seen = request.form.get("text", "").replace("\r\n", "\n"), request.form.get("seen", "")
    why, wanted = request.form.get("why", "").strip()[:LONGEST_WHY], request.form.get("do", "check")
    try:
        if wanted == "save":
            number = put_in_force(text, seen, why)
            flash(f"Version {number} of the rules is in force.")
            return redirect(url_for("router.index"), 303)
        tried = simulate(desk(), text) if wanted == "simulate" else None
        return _page(text, seen, why=why, warnings=check(desk(), text), tried=tried)
    except FactoryError as error:
        return _page(text, seen, why=why, problem=error), http_status(error)


@blueprint.get("/versions/<int:number>")
def version(number: int) -> ResponseReturnValue:
    """One version: who, when and why, and how it differs from the rules in force."""
    found = kept().version(number)
    return render_template("router_version.html", version=found, diff=compared(kept().text(), found.text, "in force"))


def _page(text: str, seen: str, **more: Any) -> str:
    now = kept().text()
    return render_template(
        "router_edit.html", text=text, seen=seen, diff=compared(now, text, "changed") if text != now else [],
        stale=digest(now) != seen, most=MOST_CALLS, **{"warnings": None, "tried": None, "problem": None, **more},
    )  # fmt: skip
