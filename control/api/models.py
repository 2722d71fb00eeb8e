"""Models for programs."""

from __future__ import annotations

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue
from pydantic import Field

from appliance.work import Noun
from control.api.request import body
from control.bringing import ModelAt, import_path
from control.desk import desk
from control.gate import person
from control.views.models import client

blueprint = Blueprint("api_models", __name__, url_prefix="/api/v1/models")


class LoadOrder(Noun):
    """How a model is to be served; what is left out is as the settings say."""

    context_tokens: int = Field(0, ge=0, description="of each request; 0: as the settings say")
    slots: int = Field(0, ge=0, description="requests at once; 0: as the settings say")
    pin: bool | None = Field(None, description="whether it stays when others need its place")


@blueprint.get("")
def index() -> ResponseReturnValue:
    """Every model with its card and state; what cannot be listed and why; bytes of unfinished imports."""
    return jsonify(client().models())


@blueprint.post("")
def import_from() -> ResponseReturnValue:
    """Import a model that lies on the machine: `{"path", "id", "licence", …}`. Answers 202 with the task."""
    asked = ModelAt.model_validate(body())
    return jsonify(import_path(desk(), asked, person()).model_dump(mode="json")), 202


@blueprint.get("/<name>")
def show(name: str) -> ResponseReturnValue:
    """One model: its card, its engine, the memory it needs and what would fit (bytes)."""
    return jsonify(client().show(name))


@blueprint.post("/<name>/load")
def load(name: str) -> ResponseReturnValue:
    """Serve a model: `{"context_tokens", "slots", "pin"}`, all of which may be left out. Answers 202 with its row."""
    asked = LoadOrder.model_validate(body())
    return jsonify(client().load(name, True, asked.context_tokens, asked.slots, asked.pin)), 202


@blueprint.post("/<name>/unload")
def unload(name: str) -> ResponseReturnValue:
    """Serve a model no longer; answers in flight are finished first. Answers 202 with its row."""
    return jsonify(client().unload(name)), 202
