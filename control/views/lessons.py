"""Lessons: what the box remembers, what taught it, what came of it, and what a person decides of it."""

from __future__ import annotations

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from pydantic import ValidationError

from appliance.errors import Conflict, NotFound
from appliance.lesson import LONGEST, Lesson, LessonState, Scope
from control.desk import desk
from control.gate import person
from control.lessons import MOVES, history, offered, state_of
from control.shares import share

blueprint = Blueprint("lessons", __name__, url_prefix="/lessons")

PAGE = 200
"""Lessons, and uses of one, on a page."""


@blueprint.get("")
def index() -> ResponseReturnValue:
    """All lessons, newest first; `?state=` and `?repo=` narrow the list."""
    return _list()


@blueprint.post("")
def add() -> ResponseReturnValue:
    """Write down a lesson; it counts at once, wherever its scope reaches."""
    try:
        fresh = Lesson(text=request.form.get("text", ""), scope=_scope())
        kept = desk().ledger.lessons.add(fresh, person())
    except ValidationError as error:
        return _list(_wrong(error)), 400
    except (NotFound, Conflict) as error:
        return _list(f"{error.message}; {error.hint}"), 409 if isinstance(error, Conflict) else 400
    flash(f"{kept.id} is kept, and counts at once.")
    return redirect(url_for("lessons.show", id=kept.id), 303)


@blueprint.get("/<id>")
def show(id: str) -> ResponseReturnValue:
    """One lesson: its words, where it holds, what taught it, its uses, its effect, and what can be done with it."""
    return _page(id)


@blueprint.post("/<id>/edit")
def edit(id: str) -> ResponseReturnValue:
    """Change a lesson's words or where it holds."""
    form = request.form
    try:
        desk().ledger.lessons.edit(id, person(), form.get("text", ""), _scope())
    except ValidationError as error:
        return _page(id, _wrong(error)), 400
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


def _scope() -> Scope:
    """What the form says of where a lesson holds. Raises ValidationError."""
    return Scope.model_validate({name: request.form.get(name, "").strip() for name in Scope.model_fields})


def _wrong(error: ValidationError) -> str:
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"


def _list(problem: str = "") -> str:
    ledger = desk().ledger
    state, repo = request.args.get("state", ""), request.args.get("repo", "")
    found = ledger.lessons.all(state_of(state), repo, PAGE)
    return render_template(
        "lessons.html", lessons=found, state=state, repo=repo, states=list(LessonState), page=PAGE,
        repositories=ledger.repositories(), typed=request.form, problem=problem, longest=LONGEST,
    )  # fmt: skip


def _page(id: str, problem: str = "") -> str:
    ledger = desk().ledger
    lesson = ledger.lessons.get(id)
    effect = ledger.lessons.effect(lesson)
    typed = request.form if problem else {"text": lesson.text, **lesson.scope.model_dump()}
    return render_template(
        "lesson.html", lesson=lesson, uses=ledger.lessons.uses(lesson=id, limit=PAGE), page=PAGE,
        effect=effect, with_it=share(effect.held_with, effect.ended_with), history=history(ledger, id),
        without_it=share(effect.held_without, effect.ended_without), verbs=offered(lesson), typed=typed,
        problem=problem, longest=LONGEST, repositories=ledger.repositories(),
    )  # fmt: skip
