"""Decisions: what the router and the line chose, why, and what came of it."""

from __future__ import annotations

from flask import Blueprint, render_template, request
from flask.typing import ResponseReturnValue

from appliance.errors import LimitExceeded, Unavailable
from appliance.learning.client import LearningClient
from control.decisions import SOURCES, Asked, Decision, decision, narrowed
from control.desk import desk
from control.paging import onward
from control.questions import question

blueprint = Blueprint("decisions", __name__, url_prefix="/decisions")

PAGE = 100


@blueprint.get("")
def index() -> ResponseReturnValue:
    """Decisions, newest first; `?repo=`, `?item=`, `?rule=`, `?chosen=`, `?source=`, `?days=` narrow the list,
    `?before=` leads on."""
    asked = narrowed(request.args)
    found: list[Decision] = []
    away = None
    try:
        found = decided(asked, PAGE)
    except (Unavailable, LimitExceeded) as error:
        away = error
    return render_template(
        "decisions.html", away=away, asked=asked, found=found, sources=SOURCES,
        older=onward(found[-1].moment) if len(found) >= PAGE else "", repositories=desk().ledger.repositories(),
        narrow=any(asked.model_dump(exclude={"before"}).values()),
        question=question("choices", **asked.model_dump(exclude={"before"}), most=PAGE),
    )  # fmt: skip


def decided(asked: Asked, most: int) -> list[Decision]:
    """At least so many decisions, where there are; those of one moment stay together. Raises Unavailable."""
    rows = LearningClient(desk().home).query("choices", **asked.model_dump(), most=most)
    return [decision(row) for row in rows]
