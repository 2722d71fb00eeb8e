"""What an item's attempts and verdicts rest on: a droid's steps as a page, any kept file to be saved."""

from __future__ import annotations

from flask import Blueprint, Response, render_template
from flask.typing import ResponseReturnValue

from appliance.errors import NotFound
from appliance.evidence import named, read
from appliance.work import Kept
from control.desk import desk
from control.trajectory import told

blueprint = Blueprint("evidence", __name__, url_prefix="/items")


def files_of(id: str) -> dict[str, Kept]:
    """Every file of evidence that an item names. Raises NotFound when there is no such item."""
    ledger = desk().ledger
    return named(ledger.item(id), (event.payload for event in ledger.history(id)))


def one_of(id: str, name: str) -> bytes:
    """The content of one of them. Raises NotFound, and VerificationFailed when it is not what was kept."""
    kept = files_of(id).get(name)
    if kept is None:
        raise NotFound(f"{id} names no evidence {name!r}", f"`appliance item evidence {id}` lists what it names")
    return read(desk().home.evidence / id, kept)


@blueprint.get("/<id>/trajectory/<name>")
def trajectory(id: str, name: str) -> ResponseReturnValue:
    """A droid's attempt step by step: what it was told, what it said, and what came of it."""
    item = desk().ledger.item(id)
    return render_template("trajectory.html", item=item, name=name, run=told(one_of(id, name)))


@blueprint.get("/<id>/evidence/<name>")
def show(id: str, name: str) -> ResponseReturnValue:
    """One file as it was kept, to be saved."""
    headers = {"Content-Disposition": f'attachment; filename="{id}-{name}"'}
    return Response(one_of(id, name), mimetype="application/json", headers=headers)
