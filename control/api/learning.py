"""What the box learns, for programs: figures, frictions, replays, the learned policy, and SQL over the store."""

from __future__ import annotations

from typing import Any, Literal

from flask import Blueprint, Response, jsonify, request
from flask.typing import ResponseReturnValue
from pydantic import BaseModel, ConfigDict, Field

from appliance.learning.client import LearningClient
from appliance.learning.freely import LONGEST
from appliance.learning.queries import QUERIES
from appliance.learning.tables import TABLES
from control.api.request import MOST_ROWS, body, limit
from control.desk import desk
from control.learned_policy import reported, steps, version, versions
from control.questions import asked_for, parameters, plain, question
from control.shares import objected, runs, shipped
from control.views.policies import kept, roll_back, take_in

ARROW = "application/vnd.apache.arrow.stream"

blueprint = Blueprint("api_learning", __name__, url_prefix="/api/v1/learning")


class FreeQuestion(BaseModel):
    """One SELECT of a program's own."""

    model_config = ConfigDict(extra="forbid")

    sql: str = Field(min_length=1, max_length=LONGEST)
    limit: int = Field(100, ge=1, le=MOST_ROWS)
    format: Literal["json", "arrow"] = "json"


class RollBack(BaseModel):
    """Which version is to be taken back, as the program saw it in use, and why."""

    model_config = ConfigDict(extra="forbid")

    version: int
    why: str = ""


@blueprint.get("")
def show() -> ResponseReturnValue:
    """How far the learning store is, and what it holds."""
    return jsonify(_client().status())


@blueprint.get("/figures")
def figures() -> ResponseReturnValue:
    """What was shipped, alone, how fast and reverted, what came of objections, and what attempts at repairs took in
    tokens and seconds; `by`, `repo`, `days` narrow it."""
    asked = asked_for(request.args).model_dump()
    client = _client()
    return jsonify(
        {
            **asked,
            "autonomy": [_told(shipped(row)) for row in client.query("autonomy", **asked)[: limit()]],
            "review_precision": [_told(objected(row)) for row in client.query("review_precision", **asked)[: limit()]],
            "costs": plain(client.query("costs", **asked)[: limit()]),
            "questions": {name: question(name, **asked).sql for name in ("autonomy", "review_precision", "costs")},
        }
    )


@blueprint.get("/report")
def report() -> ResponseReturnValue:
    """What was learned and what it saves, in words and figures, as `appliance learn report` tells it."""
    return jsonify(plain(reported(desk())))


@blueprint.get("/frictions")
def frictions() -> ResponseReturnValue:
    """Where work rubs, the most frequent first, with items, evidence and what was filed; `repo`, `days`, `limit`."""
    own = asked_for(request.args).model_dump(include={"repo", "days"})
    return jsonify({"frictions": plain(_client().query("frictions", **own)[: limit()])})


@blueprint.get("/replays")
def replays() -> ResponseReturnValue:
    """Runs of replays, newest first, with each contender's shares and what it took; `repo`, `days`, `limit`."""
    own = asked_for(request.args).model_dump(include={"repo", "days"})
    found = runs(_client().query("replay_runs", **own))[: limit()]
    return jsonify({"runs": [{**one, "contenders": [_told(row) for row in one["contenders"]]} for one in found]})


@blueprint.get("/policy")
def policies() -> ResponseReturnValue:
    """Versions of the routing policy, newest first, with what speaks for each and its steps, and which is in use."""
    found = versions(kept(), steps(desk().ledger), limit())
    return jsonify({"current": kept().current(), "versions": [plain(one.model_dump(mode="json")) for one in found]})


@blueprint.get("/policy/<int:number>")
def policy(number: int) -> ResponseReturnValue:
    """One version."""
    return jsonify(plain(version(kept(), desk().ledger, number).model_dump(mode="json")))


@blueprint.post("/policy/<int:number>/promote")
def promote(number: int) -> ResponseReturnValue:
    """Take a version into use."""
    take_in(number)
    return jsonify({"current": number})


@blueprint.post("/policy/roll-back")
def take_back() -> ResponseReturnValue:
    """Take the version in use back: `{"version": 3, "why": "…"}`. Answers with what is in use again; 0 for none."""
    asked = RollBack.model_validate(body())
    return jsonify({"current": roll_back(asked.version, asked.why)[1]})


@blueprint.get("/questions")
def questions() -> ResponseReturnValue:
    """The questions behind the figures: what each says, its SQL and its parameters with their defaults."""
    told = [{"name": name, **one.model_dump(mode="json")} for name, one in QUERIES.items()]
    return jsonify({"questions": told})


@blueprint.get("/questions/<name>")
def answer(name: str) -> ResponseReturnValue:
    """The rows of a named question; its parameters and `limit` narrow them."""
    given = parameters(name, request.args)
    rows = _client().query(name, **given)
    return jsonify({"sql": question(name, **given).sql, "rows": plain(rows[: limit()]), "more": len(rows) > limit()})


@blueprint.get("/tables")
def tables() -> ResponseReturnValue:
    """Every table of the store: columns and their types."""
    return jsonify({"tables": {name: dict(columns) for name, columns in TABLES.items()}})


@blueprint.post("/query")
def ask() -> ResponseReturnValue:
    """One SELECT of your own, read-only, cut off after 10 s: `{"sql": "SELECT …", "limit": 100}`; with `"format":
    "arrow"` a stream in Arrow's IPC format, whose header `x-more-rows` says whether there are more."""
    asked = FreeQuestion.model_validate(body())
    if asked.format == "arrow":
        content, more = _client().stream(asked.sql, asked.limit)
        return Response(content, mimetype=ARROW, headers={"x-more-rows": str(more).lower()})
    return jsonify(plain(_client().look(asked.sql, asked.limit)))


def _client() -> LearningClient:
    return LearningClient(desk().home)


def _told(row: dict[str, Any]) -> dict[str, Any]:
    """A row with its shares as data."""
    return {
        name: {"count": value.count, "of": value.of, "interval": [round(value.low, 4), round(value.high, 4)]}
        if name.endswith("_share") else plain(value)
        for name, value in row.items()
    }  # fmt: skip
