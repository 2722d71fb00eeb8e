"""Work items for programs."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, jsonify, request, url_for
from flask.typing import ResponseReturnValue
from pydantic import BaseModel, ConfigDict

from appliance.errors import UsageError
from appliance.ledger.ids import number_of
from appliance.work import State, WorkItem
from control.api.request import body, if_unchanged, limit, page
from control.desk import desk
from control.gate import person
from control.paging import before
from control.verbs import VERBS, offered
from control.views.evidence import files_of, one_of
from control.views.items import problem_with

blueprint = Blueprint("api_items", __name__, url_prefix="/api/v1/items")

SHORT = {"id", "state", "stage", "repo", "title", "kind", "severity", "signals", "waiting_for", "created", "updated"}
"""What a list says of each item."""


class NewCommand(BaseModel):
    """What a program asks of an item."""

    model_config = ConfigDict(extra="forbid")

    verb: str
    text: str = ""


@blueprint.get("")
def index() -> ResponseReturnValue:
    """Items, newest first, in short; `state`, `repo` and `limit` narrow the list, `before` leads on."""
    state = request.args.get("state", "")
    if state and state not in set(State):
        raise UsageError(f"there is no state {state!r}", f"one of: {', '.join(State)}")
    states = (State(state),) if state else ()
    repo = request.args.get("repo", "")
    found = desk().ledger.items(repo=repo, states=states, limit=limit() + 1, before=before())
    return page("items", [(number_of(item.id), item.model_dump(mode="json", include=SHORT)) for item in found])


@blueprint.get("/<id>")
def show(id: str) -> ResponseReturnValue:
    """One item, whole, with its events."""
    return jsonify(whole(desk().ledger.item(id)))


@blueprint.get("/<id>/evidence")
def evidence(id: str) -> ResponseReturnValue:
    """Files that the item's attempts and verdicts rest on, each with its SHA-256."""
    return jsonify({"evidence": [kept.model_dump() for kept in files_of(id).values()]})


@blueprint.get("/<id>/evidence/<name>")
def evidence_file(id: str, name: str) -> ResponseReturnValue:
    """One of them as it was kept: a droid's trajectory, or findings as SARIF."""
    return Response(one_of(id, name), mimetype="application/json")


@blueprint.post("/<id>/commands")
def give(id: str) -> ResponseReturnValue:
    """Give a command: `{"verb": "reject", "text": "why"}`. Answers with its number; the line takes it up later.
    With `If-Match` only while the item is as it was read."""
    asked = NewCommand.model_validate(body())
    if asked.verb not in VERBS:
        raise UsageError(f"nobody can {asked.verb!r} an item", f"one of: {', '.join(VERBS)}")
    problem = problem_with(VERBS[asked.verb], id, asked.text.strip())
    if problem:
        raise UsageError(problem, "send it as `text`")
    if_unchanged(whole(desk().ledger.item(id)))
    number = desk().ledger.command(id, asked.verb, person(), asked.text.strip())
    return jsonify({"number": number, "item": url_for("api_items.show", id=id)}), 202


def whole(item: WorkItem) -> dict[str, Any]:
    """An item as `item show --json` has it, with the commands its state allows."""
    events = desk().ledger.history(item.id)
    told = [event.model_dump(mode="json", include={"seq", "at", "kind", "subject", "payload"}) for event in events]
    return {**item.model_dump(mode="json"), "events": told, "commands": [verb.name for verb in offered(item)]}
