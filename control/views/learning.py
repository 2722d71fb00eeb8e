"""Learning: how far the box works alone, where work rubs, and what replays showed. Each figure names its question."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from flask import Blueprint, render_template, request
from flask.typing import ResponseReturnValue

from appliance.errors import LimitExceeded, Unavailable
from appliance.learning.client import LearningClient
from appliance.learning.frictions import MEANING, step_of
from control.desk import desk
from control.learned_policy import judged, reported
from control.questions import GROUPS, Asked, asked_for, question
from control.shares import by_week, objected, runs, shipped

blueprint = Blueprint("learning", __name__, url_prefix="/learning")

BEHIND: Mapping[str, Mapping[str, Any]] = {"policy_weeks": {}, "costs": {"by": "rule"}, "lessons_used": {}}
"""Questions that the report's figures come from, with their parameters."""
PAGE = 100
"""Frictions, and runs of replays, on a page."""


@blueprint.get("")
def index() -> ResponseReturnValue:
    """How far the box works alone: shipped, reverted, time, objections, tokens; `?by=`, `?repo=`, `?days=` narrow."""
    asked = asked_for(request.args)
    own = {"repo": asked.repo, "days": asked.days}
    questions = [question(name, by=asked.by, **own) for name in ("autonomy", "review_precision", "costs")]

    def read(client: LearningClient) -> dict[str, Any]:
        weeks = client.query("autonomy", by="week", **own)
        rows = weeks if asked.by == "week" else client.query("autonomy", by=asked.by, **own)
        objections = client.query("review_precision", by=asked.by, **own)
        return {
            "status": client.status(), "rows": [shipped(row) for row in rows],
            "total": [shipped(row) for row in client.query("autonomy", by="all", **own)],
            "objections": [objected(row) for row in objections],
            "judged": [objected(row) for row in client.query("review_precision", by="all", **own)],
            "weeks": by_week(weeks), "costs": client.query("costs", by=asked.by, **own),
        }  # fmt: skip

    return _page(
        "learning.html", read, asked, groups=GROUPS, questions=questions, week=question("autonomy", by="week", **own)
    )


@blueprint.get("/report")
def report() -> ResponseReturnValue:
    """What was learned and what it saves, in words and figures, as `appliance learn report` tells it."""
    told: dict[str, Any] = {}
    away = None
    try:
        told = reported(desk())
    except (Unavailable, LimitExceeded) as error:
        away = error
    return render_template(
        "report.html", away=away, told=told, cells=[judged(cell) for cell in told.get("rules", ())],
        questions=[question(name, **given) for name, given in BEHIND.items()],
    )  # fmt: skip


@blueprint.get("/frictions")
def frictions() -> ResponseReturnValue:
    """Where work rubs: kinds and places, how often, the evidence, what was filed; `?repo=` and `?days=` narrow it."""
    asked = asked_for(request.args)
    own = {"repo": asked.repo, "days": asked.days}
    return _page(
        "frictions.html", lambda client: {"rows": client.query("frictions", **own)}, asked, meaning=MEANING, page=PAGE,
        step_of=step_of,
        questions=[question("frictions", **own)], settings=desk().settings.learning,
    )  # fmt: skip


@blueprint.get("/replays")
def replays() -> ResponseReturnValue:
    """What replays showed: runs with their contenders; `?repo=` and `?days=` narrow it, `?run=` shows its tasks."""
    asked = asked_for(request.args)
    own = {"repo": asked.repo, "days": asked.days}
    run = request.args.get("run", "")
    asks = ["replay_runs", *(["replays"] if run else [])]

    def read(client: LearningClient) -> dict[str, Any]:
        tasks = client.query("replays", repo=asked.repo) if run else []
        return {
            "runs": runs(client.query("replay_runs", **own)),
            "tasks": [row for row in tasks if str(row["run"]) == run],
        }

    return _page(
        "replays.html",
        read,
        asked,
        run=run,
        page=PAGE,
        settings=desk().settings.learning,
        questions=[question(name, **own) for name in asks],
    )


def _page(template: str, read: Callable[[LearningClient], dict[str, Any]], asked: Asked, **more: Any) -> str:
    """A page of what the learning process says; while it is away or busy the page is there, and says so."""
    told: dict[str, Any] = {}
    away = None
    try:
        told = read(LearningClient(desk().home))
    except (Unavailable, LimitExceeded) as error:
        away = error
    return render_template(
        template, away=away, asked=asked, repositories=desk().ledger.repositories(), **{**more, **told}
    )
