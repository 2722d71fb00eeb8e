"""The limits of the box, changed: what would differ is shown before it is saved, with the reason."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from appliance.errors import FactoryError
from appliance.ledger.limits import LimitsFile
from appliance.limits import NAMES, LimitChange, in_force, value_of
from appliance.work import Autonomy
from control.desk import desk
from control.gate import http_status, person

blueprint = Blueprint("limits", __name__, url_prefix="/policy/limits")

PATHS, CAP = "autonomy.protected_paths", "autonomy.cap"


def kept() -> LimitsFile:
    """The limits of the box."""
    return LimitsFile(desk().home, desk().ledger)


@blueprint.get("")
def edit() -> ResponseReturnValue:
    """The limits in force, to be changed."""
    settings = desk().limits.now()
    return _page({name: _shown(value_of(settings, name)) for name in NAMES}, kept().digest())


@blueprint.post("")
def change() -> ResponseReturnValue:
    """Show what would differ, or save it; whatever is wrong comes back with what was said."""
    said = {name: request.form.get(name, "").replace("\r\n", "\n") for name in NAMES}
    seen, why = request.form.get("seen", ""), request.form.get("why", "").strip()
    try:
        found = kept().compare(given(said))[1]
        if request.form.get("do") != "save":
            return _page(said, seen, why, found)
        saved = kept().save(given(said), person(), why, seen)
    except FactoryError as error:
        return _page(said, seen, why, problem=error), http_status(error)
    flash(f"{', '.join(one.name for one in saved)}: changed. It holds from the next stage of every item on.")
    return redirect(url_for("policy.show"), 303)


def given(said: dict[str, str]) -> dict[str, Any]:
    """What a form said, as values: a pattern a line."""
    lines = [line.strip() for line in said[PATHS].split("\n")]
    return {**{name: text.strip() for name, text in said.items()}, PATHS: [line for line in lines if line]}


def _shown(value: Any) -> str:
    return "\n".join(value) if isinstance(value, list) else f"{value:g}" if isinstance(value, float) else str(value)


def _page(
    said: dict[str, str], seen: str, why: str = "", found: list[LimitChange] | None = None,
    problem: FactoryError | None = None,
) -> str:  # fmt: skip
    return render_template(
        "limits.html", said=said, seen=seen, why=why, found=found, problem=problem, levels=list(Autonomy),
        limits=in_force(desk().limits.now()), broken=desk().limits.problem, paths=PATHS, cap=CAP,
    )  # fmt: skip
