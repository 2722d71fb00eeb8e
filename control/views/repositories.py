"""The repositories the box looks after."""

from __future__ import annotations

from collections import Counter

from flask import Blueprint, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from appliance.errors import FactoryError
from appliance.ledger.overview import live_counts
from appliance.work import Autonomy, MirrorHealth
from control.bringing import NewRepository, add_repository
from control.desk import desk
from control.gate import http_status, person

blueprint = Blueprint("repositories", __name__, url_prefix="/repositories")


@blueprint.get("")
def index() -> ResponseReturnValue:
    """All repositories with their branch, autonomy, open items, and how their mirrors stand."""
    ledger = desk().ledger
    still: Counter[str] = Counter()
    for _, repo, count in live_counts(ledger):
        still[repo] += count
    mirrors = ledger.forges.all_health()
    known = [(one, still[one.name], mirrors.get(one.name, MirrorHealth())) for one in ledger.repositories()]
    return render_template("repositories.html", seq=ledger.tip()[0], known=known)


@blueprint.get("/new")
def form() -> ResponseReturnValue:
    """Name a repository that the box is to look after."""
    return _page({})


@blueprint.post("/new")
def add() -> ResponseReturnValue:
    """Mirror a repository and look after it, as a task; what is wrong comes back with what was said."""
    said = {name: request.form.get(name, "").strip() for name in NewRepository.model_fields}
    try:
        task = add_repository(desk(), NewRepository.model_validate(said), person())
    except FactoryError as error:
        return _page(said, error), http_status(error)
    return redirect(url_for("tasks.show", id=task.id), 303)


def _page(said: dict[str, str], problem: FactoryError | None = None) -> str:
    return render_template("repository_new.html", said=said, problem=problem, levels=list(Autonomy))
