"""The first-run guide for programs."""

from __future__ import annotations

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue
from pydantic import Field

from appliance.work import Noun
from control.api.request import body
from control.desk import desk
from control.guide import guide
from control.views.guide import set_mark

blueprint = Blueprint("api_guide", __name__, url_prefix="/api/v1/guide")


class GuideMark(Noun):
    """A step that is skipped, or the whole guide that is put away."""

    step: str = Field(description="name of a step, or all")
    mark: str = Field(description="skipped for a step, away for all, back for either")


@blueprint.get("")
def show() -> ResponseReturnValue:
    """The first steps on a new box, and how each stands."""
    return jsonify(guide(desk()).model_dump(mode="json"))


@blueprint.post("")
def note() -> ResponseReturnValue:
    """Skip a step, put the guide away, or take either back: `{"step", "mark"}`."""
    asked = GuideMark.model_validate(body())
    set_mark(asked.step, asked.mark)
    return jsonify(guide(desk()).model_dump(mode="json"))
