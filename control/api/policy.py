"""How far the box goes, for programs: its limits."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue
from pydantic import Field

from appliance.limits import in_force
from appliance.work import Noun
from control.api.request import body
from control.desk import desk
from control.gate import person
from control.views.limits import kept

blueprint = Blueprint("api_policy", __name__, url_prefix="/api/v1/policy")


class NewLimits(Noun):
    """Limits that are to become others."""

    changes: dict[str, Any] = Field(min_length=1, description="values by name, like autonomy.max_files")
    why: str = Field(min_length=1, description="the reason, kept with the change")
    seen: str = Field("", description="digest of the settings file that they were decided on; empty: any")


@blueprint.get("/limits")
def show() -> ResponseReturnValue:
    """The limits in force; the settings file's `digest`; `problem` when that file is not accepted."""
    settings = desk().limits.now()
    told = [one.model_dump(mode="json") for one in in_force(settings)]
    return jsonify(limits=told, digest=kept().digest(), problem=desk().limits.problem)


@blueprint.patch("/limits")
def change() -> ResponseReturnValue:
    """Change limits: `{"changes": {"autonomy.max_files": 5}, "why": "…", "seen": "…"}`. Answers with what changed."""
    asked = NewLimits.model_validate(body())
    found = kept().save(asked.changes, person(), asked.why, asked.seen)
    return jsonify(changes=[one.model_dump(mode="json") for one in found])
