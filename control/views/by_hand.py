"""What people do to an item by hand: change its plan, hand a patch in. Both are checked before the line is asked."""

from __future__ import annotations

import hashlib

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from pydantic import ValidationError

from appliance.by_hand import LONGEST_NOTES, LONGEST_PATCH, LONGEST_WHY, Editable, HandedIn, PlanEdit, editable
from appliance.errors import FactoryError
from appliance.ledger.legal import check_legal
from appliance.ports import Repository
from appliance.work import WorkItem
from control.by_hand import base_of, handed_in, of_form, plan_edit, told
from control.desk import desk
from control.gate import http_status, person

blueprint = Blueprint("by_hand", __name__, url_prefix="/items")


@blueprint.get("/<id>/plan")
def plan(id: str) -> ResponseReturnValue:
    """The plan as a form: acceptance tests, files, tests it brings, notes."""
    item = desk().ledger.item(id)
    check_legal("plan", id, item.state)
    return _plan_page(item, editable(item.plan), "", [])


@blueprint.post("/<id>/plan")
def change_plan(id: str) -> ResponseReturnValue:
    """Change the plan; the line builds anew from it."""
    item = desk().ledger.item(id)
    why = request.form.get("why", "")
    before = editable(item.plan)
    try:
        after = of_form(
            request.form, request.form.getlist("test_path"), request.form.getlist("test_content"), before, person()
        )
    except ValidationError as error:
        return _plan_page(item, before, why, told(error)), 400
    if request.form.get("seen") != seen(before):
        words = "the plan was changed since this page was opened: look at what it is now, and decide anew"
        return _plan_page(item, before, why, [words]), 409
    edit, problems = plan_edit(item, after, why, repository_of(item), protected())
    if edit is None:
        return _plan_page(item, after, why, problems), 400
    number = ask_plan(id, edit)
    flash(f"Request {number} (change the plan) is noted. The line plans and builds anew from it.")
    return redirect(url_for("items.show", id=id), 303)


@blueprint.get("/<id>/hand-in")
def patch(id: str) -> ResponseReturnValue:
    """How to fetch the item's base, and a form for the patch made on it."""
    item = desk().ledger.item(id)
    check_legal("hand_in", id, item.state)
    return _patch_page(item, None)


@blueprint.post("/<id>/hand-in")
def hand_in(id: str) -> ResponseReturnValue:
    """Hand a patch in: a file, or text. It goes through the same gates as the box's own changes."""
    item = desk().ledger.item(id)
    sent = request.files.get("file")
    raw = sent.read(LONGEST_PATCH + 1) if sent else b""
    raw = raw or request.form.get("patch", "").encode()
    given = {name: request.form.get(name, "").strip() for name in ("author", "message", "why")}
    try:
        handed = handed_in(item, raw, person(), repository_of(item), own_address(), **given)
    except FactoryError as error:
        return _patch_page(item, error), http_status(error)
    number = ask_hand_in(id, handed)
    flash(f"Request {number} (your patch) is noted. The line takes it through the gates.")
    return redirect(url_for("items.show", id=id), 303)


def repository_of(item: WorkItem) -> Repository:
    """The mirror of an item's repository."""
    return desk().repository(desk().ledger.repository(item.repo))


def protected() -> list[str]:
    """Patterns of what no change may touch."""
    return desk().limits.now().autonomy.protected_paths


def own_address() -> str:
    """Who acts, as git names an author: the account, at the host that the box's own commits name."""
    host = desk().settings.mirror.author_email.rpartition("@")[2]
    return f"{person()} <{person().partition('@')[0]}@{host}>"


def ask_plan(id: str, edit: PlanEdit) -> int:
    """The number of the command that changes a plan."""
    return desk().ledger.command(id, "plan", person(), edit.model_dump_json())


def ask_hand_in(id: str, handed: HandedIn) -> int:
    """The number of the command that hands a patch in."""
    return desk().ledger.command(id, "hand_in", person(), handed.model_dump_json())


def seen(plan: Editable) -> str:
    """By what a page knows whether the plan is still the one it showed."""
    return hashlib.sha256(plan.model_dump_json().encode()).hexdigest()[:32]


def _plan_page(item: WorkItem, shown: Editable, why: str, problems: list[str]) -> str:
    return render_template(
        "plan.html", item=item, plan=shown, why=why, problems=problems, seen=seen(editable(item.plan)),
        longest_notes=LONGEST_NOTES, longest_why=LONGEST_WHY,
        failing=[test for test, how in sorted((item.plan.baseline if item.plan else {}).items()) if how != "passed"],
    )  # fmt: skip


def _patch_page(item: WorkItem, problem: FactoryError | None) -> str:
    base, away = "", None
    try:
        base = base_of(item, repository_of(item))
    except FactoryError as error:
        away = error
    address = desk().settings.console.url or request.host_url
    return render_template(
        "patch.html", item=item, base=base, away=away, problem=problem, sent=request.form, longest=LONGEST_PATCH,
        clone=f"{address.rstrip('/')}/git/{item.repo}.git",
    )  # fmt: skip
