"""Signals: what the outside world said, and a form to say more."""

from __future__ import annotations

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from appliance.ledger.ids import number_of
from appliance.work import Kind
from control.desk import desk
from control.gate import source
from control.intake import NewSignal, problems_of
from control.paging import before, onward

blueprint = Blueprint("signals", __name__, url_prefix="/signals")

PAGE = 200


@blueprint.get("")
def index() -> ResponseReturnValue:
    """All signals, newest first; `?before=` leads on."""
    ledger = desk().ledger
    found = ledger.signals(limit=PAGE, before=before())
    older = onward(number_of(found[-1][0].id)) if len(found) == PAGE else ""
    return render_template("signals.html", seq=ledger.tip()[0], signals=found, older=older)


@blueprint.get("/new")
def form() -> ResponseReturnValue:
    """The form that files a signal."""
    return _form({"repo": request.args.get("repo", "")}, {})


@blueprint.post("/new")
def file() -> ResponseReturnValue:
    """File a signal."""
    sent = {name: request.form.get(name, "") for name in ("repo", "title", "body", "kind")}
    problems = problems_of(sent)
    if problems:
        return _form(sent, problems), 400
    kept = desk().ledger.receive(NewSignal.model_validate(sent).as_signal(source("console")))
    flash(f"{kept.id} is filed. The line opens an item for it.")
    return redirect(url_for("signals.show", id=kept.id), 303)


@blueprint.get("/<id>")
def show(id: str) -> ResponseReturnValue:
    """One signal as it came, and the item it led to."""
    ledger = desk().ledger
    signal, item = ledger.signal(id)
    return render_template("signal.html", seq=ledger.tip()[0], signal=signal, item=item)


def _form(sent: dict[str, str], problems: dict[str, str]) -> str:
    return render_template(
        "signal_new.html", sent=sent, problems=problems, kinds=list(Kind), repositories=desk().ledger.repositories()
    )
