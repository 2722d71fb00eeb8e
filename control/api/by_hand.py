"""An item's plan and a person's patch, for programs."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, jsonify, request
from flask.typing import ResponseReturnValue
from pydantic import BaseModel, ConfigDict, Field

from appliance.by_hand import LONGEST_PATCH, LONGEST_WHY, Editable, editable
from appliance.errors import UsageError
from appliance.work import WorkItem
from control.api.request import body, if_unchanged
from control.by_hand import edits, handed_in, plan_edit
from control.desk import desk
from control.gate import person
from control.views.by_hand import ask_hand_in, ask_plan, own_address, protected, repository_of

blueprint = Blueprint("api_by_hand", __name__, url_prefix="/api/v1/items")


class NewPlan(BaseModel):
    """A plan as it should be."""

    model_config = ConfigDict(extra="forbid")

    plan: Editable
    why: str = Field(min_length=1, max_length=LONGEST_WHY)


@blueprint.get("/<id>/plan")
def plan(id: str) -> ResponseReturnValue:
    """The part of an item's plan that a person may change, and the changes made to it so far."""
    return jsonify(_told(desk().ledger.item(id)))


@blueprint.put("/<id>/plan")
def change_plan(id: str) -> ResponseReturnValue:
    """Change it: `{"plan": {"acceptance", "files", "tests", "notes"}, "why"}`; the line builds anew from it. Answers
    202 with the command's number. With `If-Match` only while the plan is as it was read."""
    item = desk().ledger.item(id)
    asked = NewPlan.model_validate(body())
    if_unchanged(_told(item))
    edit, problems = plan_edit(item, asked.plan, asked.why, repository_of(item), protected())
    if edit is None:
        raise UsageError("; ".join(problems), "mend what is named and send it again")
    return jsonify({"number": ask_plan(id, edit), "item": id}), 202


@blueprint.post("/<id>/patch")
def hand_in(id: str) -> ResponseReturnValue:
    """Hand a patch in, the body, as `git diff` or `git format-patch --stdout` writes it; `author`, `message` and `why`
    in the address. Answers 202 with the command's number."""
    item = desk().ledger.item(id)
    given = {name: request.args.get(name, "").strip() for name in ("author", "message", "why")}
    raw = request.stream.read(LONGEST_PATCH + 1)
    handed = handed_in(item, raw, person(), repository_of(item), own_address(), **given)
    return jsonify({"number": ask_hand_in(id, handed), "item": id, "base": handed.base, "files": handed.files}), 202


def _told(item: WorkItem) -> dict[str, Any]:
    changes = [
        {"at": event.at, "by": event.payload.get("by", ""), **edit.model_dump(mode="json")}
        for event, edit in edits(desk().ledger.history(item.id))
    ]  # fmt: skip
    base, by = (item.plan.base, item.plan.by) if item.plan else ("", "")
    return {"plan": editable(item.plan).model_dump(mode="json"), "base": base, "changed_by": by, "changes": changes}
