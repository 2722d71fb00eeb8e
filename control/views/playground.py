"""The playground: one question to one or two models, side by side. Streamed with a script, whole without."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from flask import Blueprint, Response, current_app, render_template, request
from flask.typing import ResponseReturnValue
from pydantic import ValidationError

from appliance.errors import FactoryError, Unavailable, UsageError
from control.desk import desk
from control.gate import ended, person
from control.live import Places
from control.playground import (
    AUTO,
    LONGEST_ANSWER,
    WRITING,
    Answer,
    Asked,
    Piece,
    Turn,
    asked_of,
    converse,
    in_words,
    whole,
)
from control.views.events import PLACES
from control.views.models import client

blueprint = Blueprint("playground", __name__, url_prefix="/playground")

SIDES = ("left", "right")
Row = Mapping[str, Any]


@blueprint.get("")
def show() -> ResponseReturnValue:
    """An empty playground; `?left=` and `?right=` name models."""
    return _page(request.args, {})


@blueprint.post("")
def ask() -> ResponseReturnValue:
    """Ask both models and show their whole answers, for browsers without scripts."""
    rows, _ = _models()
    asked = _asked(request.form, rows)
    places: Places = current_app.extensions[PLACES]
    places.take()
    try:
        with ThreadPoolExecutor(len(SIDES)) as pool:
            here, name = desk(), person()
            going = {
                side: pool.submit(whole, here.home, here.settings.gateway, one, name) for side, one in asked.items()
            }
            return _page(request.form, {side: (asked[side], one.result()) for side, one in going.items()})
    finally:
        places.give_back()


@blueprint.post("/stream")
def stream() -> ResponseReturnValue:
    """Ask the model on one `side` and stream its answer: a line of JSON for each piece, figures or a problem last."""
    side = request.form.get("side", "")
    asked = _asked(request.form, _models()[0]).get(side)
    if asked is None:
        raise UsageError("no model was asked", "choose one")
    here, name, over = desk(), person(), ended()
    places: Places = current_app.extensions[PLACES]
    places.take()

    def body() -> Iterator[str]:
        try:
            for told in converse(here.home, here.settings.gateway, asked, name):
                if here.stopping() or over():
                    yield _line({"problem": "the console ends this conversation (sign in again)"})
                    return
                yield _line(told.model_dump(exclude_defaults=isinstance(told, Piece)))
        except FactoryError as error:
            yield _line({"problem": in_words(error)})

    response = Response(body(), mimetype="application/x-ndjson", headers={"X-Accel-Buffering": "no"})
    response.call_on_close(places.give_back)  # also for a browser that left before the first piece
    return response


def _line(told: Mapping[str, Any]) -> str:
    return json.dumps(told) + "\n"


def _models() -> tuple[list[Row], str]:
    """The models that write, and why they are not known when the engines process is away."""
    try:
        rows = client().models()["models"]
    except Unavailable as error:
        return [], error.message
    return [row for row in rows if set(WRITING) & set(row["tasks"])], ""


def _asked(form: Mapping[str, str], rows: list[Row]) -> dict[str, Asked]:
    """Side → what is asked of the model that was chosen there. Raises UsageError."""
    tasks = {row["id"]: tuple(row["tasks"]) for row in rows}
    try:
        asked = {side: asked_of(form, side, tasks) for side in SIDES if form.get(side)}
    except ValidationError as error:
        raise UsageError("no model has such a name", "choose one of the list") from error
    if not asked:
        raise UsageError("no model was chosen", "choose one on the left, and another on the right to compare")
    return asked


def _page(typed: Mapping[str, str], answered: Mapping[str, tuple[Asked, Answer]]) -> str:
    rows, away = _models()
    turns = {side: _after(answered.get(side)) for side in SIDES}
    names = [AUTO, *(row["id"] for row in rows)]
    chosen = {side: typed.get(side, AUTO if side == "left" else "") for side in SIDES}
    others = sorted({name for name in chosen.values() if name and name not in names})
    unanswered = all(answer.problem for _, answer in answered.values())
    return render_template(
        "playground.html", models=rows, away=away, sides=SIDES, chosen=chosen, others=others, typed=typed, turns=turns,
        answered=answered, kept={side: json.dumps([turn.model_dump() for turn in turns[side]]) for side in SIDES},
        open_question=typed.get("words", "") if unanswered else "", longest=LONGEST_ANSWER,
        settings=desk().settings.gateway,
    )  # fmt: skip


def _after(answered: tuple[Asked, Answer] | None) -> tuple[Turn, ...]:
    """The conversation once a question was answered; a question that was not stays out of it."""
    if answered is None:
        return ()
    asked, answer = answered
    if answer.problem:
        return asked.turns
    return (*asked.turns, Turn(role="user", content=asked.words), Turn(role="assistant", content=answer.text))
