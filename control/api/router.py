"""The routing rules for programs."""

from __future__ import annotations

from flask import Blueprint, jsonify, url_for
from flask.typing import ResponseReturnValue
from pydantic import Field

from appliance.ledger.routes import digest
from appliance.work import Noun
from control.api.request import body
from control.desk import desk
from control.router import check, simulate
from control.views.router import kept, put_in_force

blueprint = Blueprint("api_router", __name__, url_prefix="/api/v1/router")


class ChangedRules(Noun):
    """A changed text of the rules."""

    text: str = Field(description="the whole file, TOML")


class NewRules(ChangedRules):
    """One that is to be put in force."""

    seen: str = Field(description="digest of the text it was made from")
    why: str = Field(description="the reason, kept with the version")


@blueprint.get("/rules")
def show() -> ResponseReturnValue:
    """The rules in force: `text`, its `digest` (to be sent back with a change), and the number of versions."""
    text = kept().text()
    return jsonify({"text": text, "digest": digest(text), "versions": len(kept().versions())})


@blueprint.put("/rules")
def save() -> ResponseReturnValue:
    """Put a changed text in force, if it is valid and nobody changed the rules meanwhile. Answers with its number."""
    asked = NewRules.model_validate(body())
    number = put_in_force(asked.text, asked.seen, asked.why)
    return jsonify({"version": number}), 200, {"Location": url_for("api_router.version", number=number)}


@blueprint.post("/check")
def look() -> ResponseReturnValue:
    """What is odd about a changed text, rule by rule; all its faults as an error when it is not valid."""
    return jsonify({"warnings": [one.model_dump() for one in check(desk(), ChangedRules.model_validate(body()).text)]})


@blueprint.post("/simulate")
def tried() -> ResponseReturnValue:
    """What a changed text would have decided otherwise, of the newest recorded calls."""
    return jsonify(simulate(desk(), ChangedRules.model_validate(body()).text))


@blueprint.get("/versions")
def versions() -> ResponseReturnValue:
    """The versions that were saved, newest first: number, time, who and why."""
    told = [one.model_dump(mode="json", exclude={"text", "by_hand"}) for one in kept().versions()]
    return jsonify({"versions": told})


@blueprint.get("/versions/<int:number>")
def version(number: int) -> ResponseReturnValue:
    """One version with its text."""
    return jsonify(kept().version(number).model_dump(mode="json"))
