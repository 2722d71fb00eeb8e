"""Signals: what the outside world said, what says the same, and a form to say more."""

from __future__ import annotations

from flask import Blueprint, Response, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from appliance.ledger.ids import number_of
from appliance.ledger.inbox import head_of, inbox, same_as, sources, twins_of
from appliance.work import Kind, State
from control.desk import desk
from control.gate import source
from control.inbox import STATES, narrowed, questions, received, together, whole
from control.intake import NewSignal, problems_of
from control.paging import before, onward

blueprint = Blueprint("signals", __name__, url_prefix="/signals")

PAGE = 100


@blueprint.get("")
def index() -> ResponseReturnValue:
    """Signals, newest first, what says the same together; `?repo=`, `?kind=`, `?severity=`, `?state=`, `?source=`,
    `?q=`, `?since=`, `?until=` narrow the list, `?before=` leads on."""
    ledger, wanted = desk().ledger, narrowed(request.args)
    found = inbox(ledger, wanted, PAGE, before())
    older = onward(number_of(found[-1].signal.id)) if len(found) == PAGE else ""
    return render_template(
        "signals.html", seq=ledger.tip()[0], rows=together(found), older=older, wanted=wanted, states=STATES,
        kinds=list(Kind), sources=sources(ledger), repositories=ledger.repositories(),
        same=twins_of(ledger, [one.item for one in found if one.item]),
        narrow=any(value for value in wanted.model_dump().values()),
    )  # fmt: skip


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
    """One signal: what it says, what it was filed from, its item, what says the same, what people were asked."""
    ledger = desk().ledger
    signal, item_id = ledger.signal(id)
    item = ledger.item(item_id) if item_id else None
    head = head_of(ledger, item_id) if item_id else ""
    return render_template(
        "signal.html", seq=ledger.tip()[0], signal=signal, item=item, head=head,
        same=[one for one in same_as(ledger, head) if one.item != item_id] if head else [],
        asked=questions(ledger.history(item_id)) if item_id else [], came=received(ledger, signal),
        duplicate=item is not None and item.state is State.DUPLICATE,
    )  # fmt: skip


@blueprint.get("/<id>/raw")
def raw(id: str) -> ResponseReturnValue:
    """What a signal was filed from, whole and without secrets, to be saved; never as a page."""
    signal, _ = desk().ledger.signal(id)
    headers = {"Content-Disposition": f'attachment; filename="{signal.id}.txt"'}
    return Response(whole(desk().ledger, signal), mimetype="text/plain", headers=headers)


def _form(sent: dict[str, str], problems: dict[str, str]) -> str:
    return render_template(
        "signal_new.html", sent=sent, problems=problems, kinds=list(Kind), repositories=desk().ledger.repositories()
    )
