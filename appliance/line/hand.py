"""What a person does to an item by hand: takes it over, gives it back, hands a patch in, changes its plan. Pure; the
patch was checked to fit before it came here (`ports.Workspace.combined`)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from appliance.by_hand import PATCH, HandedIn, PlanEdit, check_fits, check_open, editable, held, is_plain_test
from appliance.errors import Conflict
from appliance.line.diffs import diff_of, fingerprint, refusals, stat_of
from appliance.work import Attempt, Candidate, Change, NewTest, Outcome, Plan, State, WorkItem

HAND = "hand"
"""The strategy of an attempt that a person made."""
WAITS_FOR_PATCH = frozenset({"approve", "answer", "retry", "look", "revise"})
"""Verbs that would let the line go on with an item which a person works on."""


def check_free(item: WorkItem, verb: str) -> None:
    """Raises Conflict for a verb that would let the line go on beside the person who works on the item."""
    if held(item) and verb in WAITS_FOR_PATCH:
        raise Conflict(
            f"{item.taken_by} makes the change of {item.id} by hand",
            f"hand a patch in, or give the item back: `appliance item take {item.id} --back`",
        )


def take(item: WorkItem, by: str) -> Outcome:
    """The item waits for a person's patch. Raises Conflict when somebody has it, or it has landed."""
    check_open(item)
    if item.taken_by:
        raise Conflict(f"{item.taken_by} has taken {item.id} over already", "it can be given back first")
    why = f"{by} makes the change by hand"
    waits = item.with_(state=State.NEEDS_HUMAN, taken_by=by, waiting_for=waiting(item.id, why))
    return Outcome(item=waits, reason=why, by=f"person:{by}")


def waiting(item_id: str, why: str) -> str:
    """What an item says while it waits for a patch."""
    return (
        f"{why}. `appliance item take {item_id} --patch FILE` hands a patch in, `appliance item take {item_id} --back` "
        "gives the item back to the line"
    )


def refused(item: WorkItem, why: str) -> dict[str, Any]:
    """What becomes of an item whose patch was turned down: it waits for the next one of the same person."""
    return {
        "state": State.NEEDS_HUMAN, "stage": "build", "change": None, "approvals": {},
        "refused_diffs": (*item.refused_diffs, *refusals(item)), "waiting_for": waiting(item.id, why),
    }  # fmt: skip


def given_back(item: WorkItem, by: str) -> tuple[WorkItem, str, str]:
    """The item without its person, the stage it goes on at, and why. Raises Conflict when nobody has it."""
    if not item.taken_by:
        raise Conflict(f"nobody has taken {item.id} over", "there is nothing to give back")
    own = item.change is not None and bool(item.change.author)
    fresh = item.with_(taken_by="", change=None if own else item.change)
    stage = ("build" if item.plan else "plan") if own else item.stage
    fresh = fresh.with_(attempts=(), approvals={}) if stage in ("plan", "build") else fresh
    return fresh, stage, f"{by} gives {item.id} back to the line"


def hand_in(item: WorkItem, by: str, handed: HandedIn) -> Outcome:
    """The patch goes through the gates as the item's change. Without a plan, one is made around it first; a person's
    plan whose tests were not run yet is held to them first.

    Raises Conflict for another's item, another base, a patch that was refused, or one that brings the plan's own tests.
    """
    check_open(item)
    check_fits(item, by, handed)
    if fingerprint(handed.diff) in item.refused_diffs:
        raise Conflict("this very patch was refused before", "change what was held against it")
    size = stat_of(handed.diff)
    candidate = Candidate(diff=handed.diff, files={}, origin=f"{HAND}:{by}", why=handed.why)
    attempt = Attempt(
        n=len(item.attempts) + 1,
        strategy=HAND,
        outcome="plausible",
        detail=f"handed in by {by}",
        candidates=(candidate,),
    )
    own = tuple(test for test in item.plan.tests if test.path not in handed.files) if item.plan else ()
    diff = handed.diff + "".join(diff_of(Path("/nonexistent"), {test.path: test.content}) for test in own)
    whole = stat_of(diff)
    change = Change(
        branch=f"factory/{item.id}" if item.round == 1 else f"factory/{item.id}-{item.round}", base=handed.base,
        diff=diff, files=whole.files, insertions=whole.insertions, deletions=whole.deletions,
        message=handed.message or f"Fix: {item.title}\n\n{handed.why or 'Made by hand.'}", author=handed.author,
    )  # fmt: skip
    plan = item.plan.with_(tests=(*own, *brought(handed.diff))) if item.plan else None
    ready = plan is not None and bool(plan.baseline)  # else nothing would show which tests are lost
    made = item.with_(
        taken_by=by, attempts=(*item.attempts, attempt), approvals={}, change=change, plan=plan, waiting_for="",
        state=State.BUILT if ready else State.TRIAGED, stage="test" if ready else "plan",
    )  # fmt: skip
    said = f": {handed.why}" if handed.why else ""
    told = f"+{size.insertions} −{size.deletions} in {len(size.files)} file(s)"
    return Outcome(item=made, reason=f"{by} handed a patch in{said}; {told}", by=f"person:{by}")


def brought(diff: str) -> tuple[NewTest, ...]:
    """The test files that a diff makes."""
    found = []
    for part in re.split(r"^(?=diff --git )", diff, flags=re.MULTILINE):
        path = re.match(r"diff --git a/.+ b/(.+)\nnew file mode 100644\n", part)
        if path and is_plain_test(path.group(1)):
            lines = part.partition("\n@@")[2].splitlines()[1:]
            content = "".join(f"{line[1:]}\n" for line in lines if line.startswith("+"))
            found.append(NewTest(path=path.group(1), content=content, origin=PATCH))
    return tuple(found)


def replanned(item: WorkItem, by: str, edit: PlanEdit) -> tuple[WorkItem, str]:
    """The item with a person's plan, to be planned around it anew, and why.

    Raises Conflict when the plan is not the one that the person changed, or the item has landed.
    """
    check_open(item)
    if editable(item.plan) != edit.before:
        raise Conflict(f"the plan of {item.id} was changed meanwhile", "look at it again, then decide anew")
    old = item.plan or Plan()
    plan = Plan(**dict(edit.after), base=old.base, suspects=old.suspects, by=by)
    fresh = item.with_(plan=plan, change=None, attempts=(), approvals={})
    return fresh, f"{by} changed the plan: {edit.why}"
