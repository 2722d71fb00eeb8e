"""Work items: the list, one item's whole story, and the commands a person can give."""

from __future__ import annotations

from collections.abc import Sequence

from flask import Blueprint, Response, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from appliance.errors import FactoryError, NotFound, UsageError
from appliance.evidence import findings
from appliance.ledger.chain import Recorded
from appliance.ledger.ids import number_of
from appliance.ledger.legal import check_legal
from appliance.work import Change, State, WorkItem
from control.beside import beside
from control.by_hand import difference, edits
from control.desk import desk
from control.diff import MOST_ROWS, Row, by_file, rows, with_findings
from control.gate import person
from control.health import read_health
from control.paging import before, onward
from control.painting import painted
from control.story import story
from control.texts import compared
from control.verbs import VERBS, Verb, may_write, offered

blueprint = Blueprint("items", __name__, url_prefix="/items")

PAGE = 200
"""Items on one page of the list, newest first."""
VIEWS = ("split", "unified")
"""How a change can be looked at."""
LONGEST_TEXT = 8000
"""Characters of a reason or an answer."""


@blueprint.get("")
def index() -> ResponseReturnValue:
    """All items, newest first; `?state=` and `?repo=` narrow the list, `?before=` leads on."""
    ledger = desk().ledger
    state, repo = request.args.get("state", ""), request.args.get("repo", "")
    if state and state not in set(State):
        raise UsageError(f"there is no state {state!r}", f"one of: {', '.join(State)}")
    found = ledger.items(repo=repo, states=(State(state),) if state else (), limit=PAGE, before=before())
    return render_template(
        "items.html", seq=ledger.tip()[0], items=found, state=state, repo=repo, counts=ledger.counts(),
        older=onward(number_of(found[-1].id)) if len(found) == PAGE else "",
        states=list(State), repositories=ledger.repositories(),
    )  # fmt: skip


@blueprint.get("/<id>")
def show(id: str) -> ResponseReturnValue:
    """One item: its story, plan, attempts, change, verdicts, and what can be asked of it."""
    ledger = desk().ledger
    seq, _ = ledger.tip()
    item = ledger.item(id)
    diff, left_out = drawn(item, item.change) if item.change else ([], 0)
    history = ledger.history(id)
    signals = [ledger.signal(signal)[0] for signal in item.signals]
    pending = [command for command in ledger.open_commands() if command.item == id]
    return render_template(
        "item.html", seq=seq, item=item, steps=story(history), diff=diff, left_out=left_out,
        signals=signals, verbs=offered(item), pending=pending, rows=coloured,
        doing=read_health(desk().home).doing_for(id), may_write=may_write, plan_edits=plan_edits(history),
    )  # fmt: skip


def plan_edits(history: Sequence[Recorded]) -> list[dict[str, object]]:
    """What people changed in the plan, newest first: who, when, why, and the difference in rows."""
    return [
        {"seq": event.seq, "at": event.at, "by": event.payload.get("by", ""), "why": edit.why,
         "rows": compared(*difference(edit.before, edit.after), "plan")}
        for event, edit in reversed(edits(history))
    ]  # fmt: skip


@blueprint.get("/<id>/change")
def change(id: str) -> ResponseReturnValue:
    """The change file by file, old and new side by side (or `?view=unified`), findings on the lines they are about."""
    ledger = desk().ledger
    item, made = _made(id)
    view = request.args.get("view", "split")
    if view not in VIEWS:
        raise UsageError(f"there is no view {view!r}", f"one of: {', '.join(VIEWS)}")
    found, left_out = drawn(item, made)
    return render_template(
        "change.html", seq=ledger.tip()[0], item=item, files=by_file(found), left_out=left_out, view=view, views=VIEWS,
        beside=beside, findings=len(findings(item)),
    )  # fmt: skip


@blueprint.get("/<id>/change.diff")
def download(id: str) -> ResponseReturnValue:
    """The whole change as a unified diff, to be saved."""
    item, made = _made(id)
    headers = {"Content-Disposition": f'attachment; filename="{item.id}.diff"'}
    return Response(made.diff, mimetype="text/plain", headers=headers)


def _made(id: str) -> tuple[WorkItem, Change]:
    item = desk().ledger.item(id)
    if item.change is None:
        raise NotFound(f"{id} has no change yet", "it has one once it is built")
    return item, item.change


def drawn(item: WorkItem, made: Change) -> tuple[list[Row], int]:
    """The rows of a change with colours and findings, and how many lines were left out."""
    found, left_out = coloured(made.diff)
    return with_findings(found, findings(item)), left_out


def coloured(diff: str, most: int = MOST_ROWS) -> tuple[list[Row], int]:
    """A diff's rows with colours, and how many lines were left out."""
    found, left_out = rows(diff, most)
    return painted(found), left_out


@blueprint.get("/<id>/<verb>")
def ask(id: str, verb: str) -> ResponseReturnValue:
    """The question before a command: what it will do, what it needs, and the same on the command line."""
    item = desk().ledger.item(id)
    check_legal(_verb(verb).name, id, item.state)
    text = request.args.get("text", "")[:LONGEST_TEXT]
    return render_template("command.html", item=item, verb=_verb(verb), text=text, problem="")


@blueprint.post("/<id>/<verb>")
def give(id: str, verb: str) -> ResponseReturnValue:
    """Give a command: `approve`, `answer`, `retry`, `merge`, `reject` or `cancel`; the line takes it up later."""
    wanted, text = _verb(verb), request.form.get("text", "").strip()
    problem = problem_with(wanted, id, text)
    if problem:
        page = render_template("command.html", item=desk().ledger.item(id), verb=wanted, text=text, problem=problem)
        return page, 400
    number = desk().ledger.command(id, wanted.name, person(), text)
    flash(f"Request {number} ({wanted.label.lower()}) is noted. The line takes it up between two stages.")
    return redirect(url_for("items.show", id=id), 303)


def problem_with(verb: Verb, id: str, text: str) -> str:
    """What is wrong with the text a command came with; "" when nothing is."""
    if verb.asks and not text:
        return f"{verb.asks}: please write it down, it becomes part of the item's story."
    if len(text) > LONGEST_TEXT:
        return f"At most {LONGEST_TEXT} characters, please."
    if verb.name == "merge":
        try:
            desk().ledger.check_merge(id, text)
        except FactoryError as error:
            return f"{error.message}: {error.hint}"
    return ""


def _verb(name: str) -> Verb:
    if name not in VERBS:
        raise NotFound(f"nobody can {name!r} an item", f"one of: {', '.join(VERBS)}")
    return VERBS[name]
