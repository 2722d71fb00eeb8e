"""Lessons: what the box remembers, what taught it, what came of it, and what a person decides of it."""

from __future__ import annotations

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from pydantic import ValidationError

from appliance.errors import NotFound
from appliance.lesson import LONGEST, LessonState, Scope
from control.desk import desk
from control.gate import person
from control.lessons import MOVES, offered, state_of

blueprint = Blueprint("lessons", __name__, url_prefix="/lessons")

PAGE = 200
"""Lessons, and uses of one, on a page."""


@blueprint.get("")
def index() -> ResponseReturnValue:
    """All lessons, newest first; `?state=` and `?repo=` narrow the list."""
    ledger = desk().ledger
    state, repo = request.args.get("state", ""), request.args.get("repo", "")
    found = ledger.lessons.all(state_of(state), repo, PAGE)
    return render_template(
        "lessons.html", lessons=found, state=state, repo=repo, states=list(LessonState), page=PAGE,
        repositories=ledger.repositories(),
    )  # fmt: skip


@blueprint.get("/<id>")
def show(id: str) -> ResponseReturnValue:
    """One lesson: its words, where it holds, what taught it, its uses, its effect, and what can be done with it."""
    return _page(id)


@blueprint.post("/<id>/edit")
def edit(id: str) -> ResponseReturnValue:
    """Change a lesson's words or where it holds."""
    form = request.form
    try:
        scope = Scope.model_validate({name: form.get(name, "").strip() for name in Scope.model_fields})
        desk().ledger.lessons.edit(id, person(), form.get("text", ""), scope)
    except ValidationError as error:
        first = error.errors()[0]
        return _page(id, f"{'.'.join(map(str, first['loc']))}: {first['msg']}"), 400
    except NotFound as error:
        desk().ledger.lessons.get(id)
        return _page(id, f"{error.message}; {error.hint}"), 400
    flash(f"{id} is as you wrote it.")
    return redirect(url_for("lessons.show", id=id), 303)


@blueprint.post("/<id>/<verb>")
def move(id: str, verb: str) -> ResponseReturnValue:
    """Confirm or retire a lesson."""
    if verb not in MOVES:
        raise NotFound(f"nobody can {verb!r} a lesson", f"one of: edit, {', '.join(MOVES)}")
    why = request.form.get("why", "").strip() or "a person says so"
    after = desk().ledger.lessons.move(id, MOVES[verb].to, person(), why)
    flash(f"{id} is {after.state}.")
    return redirect(url_for("lessons.show", id=id), 303)


def _page(id: str, problem: str = "") -> str:
    ledger = desk().ledger
    lesson = ledger.lessons.get(id)
    typed = request.form if problem else {"text": lesson.text, **lesson.scope.model_dump()}
    return render_template(
        "lesson.html", lesson=lesson, uses=ledger.lessons.uses(lesson=id, limit=PAGE), page=PAGE,
        effect=ledger.lessons.effect(lesson), verbs=offered(lesson), typed=typed, problem=problem, longest=LONGEST,
        repositories=ledger.repositories(),
    )  # fmt: skip
