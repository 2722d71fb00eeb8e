"""Repositories for programs."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue
from pydantic import BaseModel, ConfigDict

from appliance.work import Autonomy, MirrorHealth, TrackedRepository, utcnow
from control.api.request import body
from control.bringing import NewRepository, add_repository
from control.desk import desk
from control.gate import person
from control.wording import without_password

blueprint = Blueprint("api_repositories", __name__, url_prefix="/api/v1/repositories")


class PolicyChange(BaseModel):
    """What a program changes of how far the box goes in a repository."""

    model_config = ConfigDict(extra="forbid")

    autonomy: Autonomy


@blueprint.get("")
def index() -> ResponseReturnValue:
    """All repositories, by name, and how their mirrors stand."""
    ledger = desk().ledger
    known = ledger.forges.all_health()
    return jsonify({"repositories": [_told(one, known.get(one.name, MirrorHealth())) for one in ledger.repositories()]})


@blueprint.post("")
def add() -> ResponseReturnValue:
    """Look after a repository: `{"name", "url", "branch", "autonomy", "test", "token"}`. Answers 202 with the task."""
    asked = NewRepository.model_validate(body())
    return jsonify(add_repository(desk(), asked, person()).model_dump(mode="json")), 202


@blueprint.get("/<name>")
def show(name: str) -> ResponseReturnValue:
    """One repository, and how its mirror stands."""
    ledger = desk().ledger
    return jsonify(_told(ledger.repository(name), ledger.forges.health(name)))


@blueprint.patch("/<name>")
def change(name: str) -> ResponseReturnValue:
    """Change a repository's autonomy: `{"autonomy": "medium"}`; it holds for what is triaged from then on."""
    asked, ledger = PolicyChange.model_validate(body()), desk().ledger
    return jsonify(_told(ledger.change_repository(name, autonomy=asked.autonomy), ledger.forges.health(name)))


def _told(repository: TrackedRepository, health: MirrorHealth) -> dict[str, Any]:
    return {
        **repository.model_dump(mode="json"), "url": without_password(repository.url),
        "mirror": {**health.model_dump(mode="json"), "lag_seconds": health.lag_seconds(utcnow())},
    }  # fmt: skip
