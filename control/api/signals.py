"""Signals for programs."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, jsonify, request, url_for
from flask.typing import ResponseReturnValue
from pydantic import BaseModel, ConfigDict, Field

from appliance.errors import Conflict
from appliance.intake import generic, rows
from appliance.ledger.ids import number_of
from appliance.ledger.inbox import Heard, head_of, inbox, same_as
from appliance.work import Signal
from control.api.request import body, limit, page, said
from control.desk import desk
from control.gate import person, source
from control.inbox import narrowed, questions, received
from control.intake import NewSignal
from control.paging import before
from control.whole_body import whole_body

blueprint = Blueprint("api_signals", __name__, url_prefix="/api/v1/signals")


class Duplicate(BaseModel):
    """Which item carries on for a signal."""

    model_config = ConfigDict(extra="forbid")

    into: str = Field(min_length=1, max_length=40)


class NoDuplicate(BaseModel):
    """Why a signal is no duplicate."""

    model_config = ConfigDict(extra="forbid")

    why: str = Field(min_length=1, max_length=8000)


@blueprint.get("")
def index() -> ResponseReturnValue:
    """Signals, newest first; `repo`, `kind`, `severity`, `state`, `source`, `q`, `since`, `until` and `limit` narrow
    the list, `before` leads on."""
    found = inbox(desk().ledger, narrowed(request.args), limit() + 1, before())
    return page("signals", [(number_of(one.signal.id), _heard(one)) for one in found])


@blueprint.get("/<id>")
def show(id: str) -> ResponseReturnValue:
    """One signal, with what it was filed from (`received`, without secrets), the signals that say the same
    (`duplicates`), and what people were asked about it (`questions`)."""
    return jsonify(_whole(id))


@blueprint.post("/<id>/merge")
def merge(id: str) -> ResponseReturnValue:
    """Say that a signal is a duplicate: `{"into": "W-3"}`. Answers 202 with the command's number."""
    return _said(id, "merge", Duplicate.model_validate(body()).into)


@blueprint.post("/<id>/split")
def split(id: str) -> ResponseReturnValue:
    """Say that a duplicate is none: `{"why": "…"}`; its item sets out anew. Answers 202 with the command's number."""
    return _said(id, "split", NoDuplicate.model_validate(body()).why)


def _said(id: str, verb: str, text: str) -> ResponseReturnValue:
    _, item = desk().ledger.signal(id)
    if not item:
        raise Conflict(f"{id} has no item yet", "wait until the line has opened it")
    number = desk().ledger.command(item, verb, person(), text)
    return jsonify({"number": number, "item": item}), 202


@blueprint.post("")
def file() -> ResponseReturnValue:
    """File a signal: `{"repo", "title", "body", "kind"}`. Answers 201 with the signal."""
    kept = desk().ledger.receive(NewSignal.model_validate(body()).as_signal(source("api")))
    return jsonify(_whole(kept.id)), 201, {"Location": url_for("api_signals.show", id=kept.id)}


@blueprint.post("/import")
def take_table() -> ResponseReturnValue:
    """File each row of a CSV file, the body: `repo`, `mapping` (`title=COLUMN`, repeated), `dry_run`, `skip_bad`,
    `encoding`, `delimiter`, `keys`."""
    ledger, asked = desk().ledger, request.args
    repo = ledger.repository(asked.get("repo", "")).name
    sheet = rows.read(
        whole_body(desk().settings.intake), generic.places_of(asked.getlist("mapping")), asked.get("encoding", ""),
        asked.get("delimiter", ""), asked.get("keys", ""),
    )  # fmt: skip
    found = rows.compared(sheet, ledger.signals_of_keys(repo, [row.report.key for row in sheet.rows]))
    if said("dry_run"):
        return jsonify(found.as_data(()))
    found.checked(said("skip_bad"))
    filed = [(row.line, ledger.receive(row.report.as_signal(repo, source("csv:api"))).id) for row in found.new]
    return jsonify(found.as_data(filed)), 201 if filed else 200


def _whole(id: str) -> dict[str, Any]:
    ledger = desk().ledger
    signal, item = ledger.signal(id)
    head = head_of(ledger, item) if item else ""
    same = [one for one in same_as(ledger, head) if one.item != item] if head else []
    asked = questions(ledger.history(item)) if item else []
    return {
        **_told(signal, item), "received": received(ledger, signal).model_dump(), "carried_by": head,
        "duplicates": [_heard(one) for one in same], "questions": [one.model_dump() for one in asked],
    }  # fmt: skip


def _heard(one: Heard) -> dict[str, Any]:
    known = one.model_dump(mode="json", include={"state", "severity"})
    return {**_told(one.signal, one.item), **known, "duplicate_of": one.twin, "kind": one.kind or one.signal.kind}


def _told(signal: Signal, item: str) -> dict[str, Any]:
    return {**signal.model_dump(mode="json"), "item": item}
