"""The models of the box: what each is and may do, what would fit, and what is loaded. The engines process tells all."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from appliance.engines_client import EnginesClient
from appliance.errors import NotFound, Unavailable, UsageError
from control.desk import desk
from control.playground import WRITING

blueprint = Blueprint("models", __name__, url_prefix="/models")

CHANGING = frozenset({"starting", "draining"})
"""States that a page which shows them asks after by itself."""
PATIENCE_SECONDS = 10.0


@blueprint.get("")
def index() -> ResponseReturnValue:
    """Every model of the box, with its tasks, size and state."""
    try:
        told, away = client().models(), ""
    except Unavailable as error:
        told, away = {"models": [], "problems": [], "unfinished": []}, error.message
    return render_template("models.html", **told, away=away, changing=_is_changing(told["models"]))


@blueprint.get("/<name>")
def show(name: str) -> ResponseReturnValue:
    """One model: its card, its score, its engine with the end of its log, the memory it needs, and what would fit."""
    told = client().show(name)
    look: dict[str, Any] = {}
    if told["engine"] and told["engine"]["engine"]:
        look = _looked_at(told["id"])
    changing = _is_changing([told["engine"]] if told["engine"] else [])
    return render_template("model.html", model=told, engine=told["engine"], look=look, changing=changing,
                           writes=bool(set(WRITING) & set(told["tasks"])))  # fmt: skip


@blueprint.post("/<name>/load")
def load(name: str) -> ResponseReturnValue:
    """Serve a model; others leave when there is no room beside them."""
    form = request.form
    pin = {"yes": True, "no": False}.get(form.get("pin", ""))
    client().load(name, True, _count(form.get("context", "")), _count(form.get("slots", "")), pin)
    flash(f"{name} is being loaded. It is ready once it has produced its first token.")
    return redirect(url_for("models.show", name=name), 303)


@blueprint.post("/<name>/unload")
def unload(name: str) -> ResponseReturnValue:
    """Serve a model no longer; answers in flight are finished first."""
    client().unload(name)
    flash(f"{name} is being unloaded. Answers in flight are finished first, for up to half a minute.")
    return redirect(url_for("models.show", name=name), 303)


def client() -> EnginesClient:
    """The engines process of this home."""
    return EnginesClient(desk().home, timeout=PATIENCE_SECONDS)


def _looked_at(name: str) -> dict[str, Any]:
    try:
        return client().look(name)
    except NotFound:
        return {}  # unloaded a moment ago


def _is_changing(rows: list[dict[str, Any]]) -> bool:
    return any(row["state"] in CHANGING for row in rows)


def _count(given: str) -> int:
    """0 for what was left empty. Raises UsageError."""
    if given and not given.isdecimal():
        raise UsageError(f"{given!r} is no number", "a whole number, or nothing for what the settings say")
    return int(given[:9] or 0)
