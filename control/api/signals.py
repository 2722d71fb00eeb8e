"""Signals for programs."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, jsonify, request, url_for
from flask.typing import ResponseReturnValue

from appliance.intake import generic, rows
from appliance.ledger.ids import number_of
from appliance.work import Signal
from control.api.request import body, limit, page, said
from control.desk import desk
from control.gate import source
from control.intake import NewSignal
from control.paging import before
from control.whole_body import whole_body

blueprint = Blueprint("api_signals", __name__, url_prefix="/api/v1/signals")


@blueprint.get("")
def index() -> ResponseReturnValue:
    """Signals, newest first; `repo` and `limit` narrow the list, `before` leads on."""
    found = desk().ledger.signals(repo=request.args.get("repo", ""), limit=limit() + 1, before=before())
    return page("signals", [(number_of(signal.id), _told(signal, item)) for signal, item in found])


@blueprint.get("/<id>")
def show(id: str) -> ResponseReturnValue:
    """One signal."""
    return jsonify(_told(*desk().ledger.signal(id)))


@blueprint.post("")
def file() -> ResponseReturnValue:
    """File a signal: `{"repo", "title", "body", "kind"}`. Answers 201 with the signal."""
    kept = desk().ledger.receive(NewSignal.model_validate(body()).as_signal(source("api")))
    return jsonify(_told(kept, "")), 201, {"Location": url_for("api_signals.show", id=kept.id)}


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


def _told(signal: Signal, item: str) -> dict[str, Any]:
    return {**signal.model_dump(mode="json"), "item": item}
