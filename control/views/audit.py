"""The audit chain: who did what, when and from where, and the proof that nothing was altered."""

from __future__ import annotations

from urllib.parse import urlencode

from flask import Blueprint, Response, render_template, request
from flask.typing import ResponseReturnValue

from appliance.events import Fact
from appliance.ledger.audit import doer, found, verify_home, where
from control.desk import desk
from control.trail import FIELDS, asked_for, lines

blueprint = Blueprint("audit", __name__, url_prefix="/audit")

PAGE = 100
"""Events on one page."""


@blueprint.get("")
def index() -> ResponseReturnValue:
    """Events, newest first; `?kind=`, `?subject=`, `?person=`, `?words=`, `?since=` and `?until=` narrow them."""
    return _page()


@blueprint.post("/verify")
def verify() -> ResponseReturnValue:
    """Walk the whole chain and say what was found."""
    return _page(verify_home(desk().ledger, desk().home))


@blueprint.get("/export")
def export() -> ResponseReturnValue:
    """The same events as a file, with their hashes, a JSON object a line, oldest first."""
    headers = {"Content-Disposition": 'attachment; filename="audit.jsonl"'}
    return Response(lines(desk(), asked_for(request.args)), mimetype="application/jsonl", headers=headers)


def _page(seen: object = None) -> str:
    search, ledger = asked_for(request.args), desk().ledger
    events = found(ledger, search, PAGE)
    asked = {name: request.args[name] for name in FIELDS if request.args.get(name)}
    older = urlencode({**asked, "before": events[-1].seq}) if len(events) == PAGE else ""
    return render_template(
        "audit.html", events=events, asked=asked, kinds=sorted(Fact), older=older, seen=seen, doer=doer, where=where,
        everything=ledger.tip()[0], query=urlencode(asked),
    )  # fmt: skip
