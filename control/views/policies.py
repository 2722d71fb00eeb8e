"""The versions of the routing policy: what was learned, what speaks for it, who took it into use and back."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from appliance.errors import Conflict, LimitExceeded, Unavailable
from appliance.learning.client import LearningClient
from appliance.learning.policies import Policies
from appliance.learning.savings import saved
from control.desk import desk
from control.gate import person
from control.learned_policy import steps, version, versions
from control.questions import question
from control.savings import Savings, charted

blueprint = Blueprint("policies", __name__, url_prefix="/learning/policy")

PAGE = 50
"""Versions on the page."""
MOST_VERSIONS = 200
"""Versions whose savings are summed, the newest."""


def kept() -> Policies:
    """The policies of the box."""
    return Policies(desk().home, desk().ledger)


def take_in(number: int) -> None:
    """Take a version into use in the name of who asks. Raises NotFound, or Conflict when it is in use or broken."""
    broken = version(kept(), desk().ledger, number).broken
    if broken:
        raise Conflict(f"policy {number} cannot be taken into use: {broken}", "`appliance learn train` makes another")
    kept().promote(number, person())


def roll_back(seen: int, why: str) -> tuple[int, int]:
    """Take the version that a person saw in use back, in their name; what was in use, and what is in use again.

    Raises Conflict when another one is in use by now, or none.
    """
    policies = kept()
    current = policies.current()
    if seen != current:
        raise Conflict(
            f"policy {current or 'none'} is in use now, not {seen or 'none'}", "look again before you decide"
        )
    return current, policies.roll_back(person(), why)


@blueprint.get("")
def index() -> ResponseReturnValue:
    """All versions, newest first: what each learned, what speaks for it, who took it into use or back."""
    policies, told = kept(), steps(desk().ledger)
    return render_template(
        "policies.html", versions=versions(policies, told, PAGE), current=policies.current(),
        more=max(0, len(policies.versions()) - PAGE), steps=told[::-1][:PAGE], settings=desk().settings.learning,
        question=question("policy_weeks"), **_savings(policies),
    )  # fmt: skip


def _savings(policies: Policies) -> dict[str, Any]:
    """Weeks with what following the policy saved; why they are not known, when the learning process is away."""
    if not policies.versions():
        return {"savings": Savings(), "away": ""}
    try:
        rows = LearningClient(desk().home).query("policy_weeks")
    except (Unavailable, LimitExceeded) as error:
        return {"savings": Savings(), "away": error.message}
    return {"savings": charted(saved(rows, policies.evaluations(MOST_VERSIONS))), "away": ""}


@blueprint.get("/<int:number>/promote")
def ask(number: int) -> ResponseReturnValue:
    """Ask whether a version is to be taken into use."""
    return render_template(
        "policy_step.html", verb="promote", version=version(kept(), desk().ledger, number), current=kept().current()
    )


@blueprint.post("/<int:number>/promote")
def promote(number: int) -> ResponseReturnValue:
    """Take a version into use."""
    take_in(number)
    flash(f"Policy {number} is in use.")
    return redirect(url_for("policies.index"), 303)


@blueprint.get("/roll-back")
def ask_back() -> ResponseReturnValue:
    """Ask whether the version in use is to be taken back."""
    current = kept().current()
    if not current:
        raise Conflict("no policy is in use", "nothing can be taken back: rules decide alone")
    return render_template(
        "policy_step.html", verb="roll back", version=version(kept(), desk().ledger, current), current=current
    )


@blueprint.post("/roll-back")
def take_back() -> ResponseReturnValue:
    """Take the version in use back: the one before it, or the rules alone, decide again."""
    seen = request.form.get("version", "")
    taken, before = roll_back(int(seen) if seen.isdecimal() else 0, request.form.get("why", "").strip()[:600])
    flash(f"Policy {taken} is taken back; " + (f"policy {before} is in use." if before else "rules decide alone."))
    return redirect(url_for("policies.index"), 303)
