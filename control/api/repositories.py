"""Repositories for programs."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue

from appliance.work import TrackedRepository
from control.desk import desk
from control.wording import without_password

blueprint = Blueprint("api_repositories", __name__, url_prefix="/api/v1/repositories")


@blueprint.get("")
def index() -> ResponseReturnValue:
    """All repositories, by name."""
    return jsonify({"repositories": [_told(repository) for repository in desk().ledger.repositories()]})


@blueprint.get("/<name>")
def show(name: str) -> ResponseReturnValue:
    """One repository."""
    return jsonify(_told(desk().ledger.repository(name)))


def _told(repository: TrackedRepository) -> dict[str, Any]:
    return {**repository.model_dump(mode="json"), "url": without_password(repository.url)}
