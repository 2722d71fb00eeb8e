"""Lessons for programs."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, jsonify, request, url_for
from flask.typing import ResponseReturnValue
from pydantic import BaseModel, ConfigDict

from appliance.errors import NotFound, UsageError
from appliance.ledger.ids import number_of
from appliance.lesson import Lesson, Scope
from control.api.request import body, if_unchanged, limit, page
from control.desk import desk
from control.gate import person
from control.lessons import MOVES, history, state_of
from control.paging import before

blueprint = Blueprint("api_lessons", __name__, url_prefix="/api/v1/lessons")


class NewLesson(BaseModel):
    """What a program writes down."""

    model_config = ConfigDict(extra="forbid")

    text: str
    scope: Scope = Scope()


class LessonChange(BaseModel):
    """What a program changes of a lesson; what is left out stays."""

    model_config = ConfigDict(extra="forbid")

    text: str | None = None
    scope: Scope | None = None


class LessonMove(BaseModel):
    """Why a lesson is confirmed or retired."""

    model_config = ConfigDict(extra="forbid")

    why: str = ""


@blueprint.get("")
def index() -> ResponseReturnValue:
    """Lessons, newest first; `state`, `repo` and `limit` narrow the list, `before` leads on."""
    state = state_of(request.args.get("state", ""))
    found = desk().ledger.lessons.all(state, request.args.get("repo", ""), limit() + 1, before())
    return page("lessons", [(number_of(lesson.id), _told(lesson)) for lesson in found])


@blueprint.get("/<id>")
def show(id: str) -> ResponseReturnValue:
    """One lesson, with its uses, its effect and the steps of its life."""
    return jsonify(_whole(id))


@blueprint.post("")
def add() -> ResponseReturnValue:
    """Write down a lesson: `{"text", "scope"}`. It counts at once. Answers 201 with the lesson."""
    asked = NewLesson.model_validate(body())
    kept = desk().ledger.lessons.add(Lesson(text=asked.text, scope=asked.scope), person())
    return jsonify(_told(kept)), 201, {"Location": url_for("api_lessons.show", id=kept.id)}


@blueprint.post("/<id>/edit")
def edit(id: str) -> ResponseReturnValue:
    """Change a lesson's words or scope: `{"text", "scope"}`, one of them or both.
    With `If-Match` only while it is as it was read."""
    asked = LessonChange.model_validate(body())
    if asked.text is None and asked.scope is None:
        raise UsageError("nothing to change", "send `text`, `scope` or both")
    if_unchanged(_whole(id))
    return jsonify(_told(desk().ledger.lessons.edit(id, person(), asked.text, asked.scope)))


@blueprint.post("/<id>/<verb>")
def move(id: str, verb: str) -> ResponseReturnValue:
    """Confirm or retire a lesson: `{"why": "…"}`; `confirm` or `retire`.
    With `If-Match` only while it is as it was read."""
    if verb not in MOVES:
        raise NotFound(f"nobody can {verb!r} a lesson", f"one of: edit, {', '.join(MOVES)}")
    asked = LessonMove.model_validate(body())
    if_unchanged(_whole(id))
    return jsonify(_told(desk().ledger.lessons.move(id, MOVES[verb].to, person(), asked.why)))


def _whole(id: str) -> dict[str, Any]:
    ledger = desk().ledger
    return {**ledger.lessons.whole(id), "history": history(ledger, id)}


def _told(lesson: Lesson) -> dict[str, Any]:
    return lesson.model_dump(mode="json")
