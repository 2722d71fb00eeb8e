"""What a command does to an item: a person's, or one that a forge's news gave. Pure; the ledger has already checked
that the state allows the verb."""

from __future__ import annotations

from appliance.by_hand import HandedIn, PlanEdit, of_a_person
from appliance.errors import Conflict
from appliance.line import hand
from appliance.line.diffs import refusals
from appliance.work import Noun, Outcome, Result, State, Verdict, WorkItem

BEFORE: dict[str, State] = {
    "triage": State.RECEIVED,
    "plan": State.TRIAGED,
    "build": State.PLANNED,
    "test": State.BUILT,
    "review": State.TESTED,
    "secure": State.REVIEWED,
    "ship": State.SECURED,
    "monitor": State.SHIPPED,
    "learn": State.MONITORED,
}
"""stage → the state in which an item is taken into it."""

APPROVABLE = frozenset({"review", "secure", "ship"})

ON_THE_FORGE = frozenset({"ship", "monitor"})
"""Stages that may wait for what happens to a merge request."""


class Observed(Noun):
    """How a pipeline of the site ended on the box's change; the text of the verb `observe`."""

    name: str
    passed: bool
    commit: str
    url: str = ""


def decide(item: WorkItem, verb: str, by: str, text: str) -> Outcome:
    """The item after the command. Raises Conflict when there is nothing of the kind to do."""
    hand.check_free(item, verb)
    match verb:
        case "approve":
            return approve(item, by, text)
        case "answer":
            answered = item.with_(answers=(*item.answers, text), body=with_answer(item, text))
            return go_on(answered, item.stage, f"answered by {by}: {text}", by)
        case "retry":
            return retry(item, by, text)
        case "merge":
            ended = item.with_(state=State.DUPLICATE, duplicate_of=text, waiting_for="")
            return Outcome(item=ended, reason=f"{by} says it is a duplicate of {text}", by=f"person:{by}")
        case "split":
            return split(item, by, text)
        case "take":
            return hand.take(item, by)
        case "give_back":
            fresh, stage, why = hand.given_back(item, by)
            return go_on(fresh, stage, why, by)
        case "hand_in":
            return hand.hand_in(item, by, HandedIn.model_validate_json(text))
        case "plan":
            changed, why = hand.replanned(item, by, PlanEdit.model_validate_json(text))
            return go_on(changed, "plan", why, by)
        case "look":
            return look(item, text)
        case "revise":
            return revise(item, by, text)
        case "observe":
            return observe(item, Observed.model_validate_json(text))
        case "reject":
            ended = item.with_(state=State.REJECTED, waiting_for="")
            return Outcome(item=ended, reason=f"rejected by {by}: {text}", by=f"person:{by}")
        case _:
            ended = item.with_(state=State.CANCELLED, waiting_for="")
            return Outcome(item=ended, reason=f"cancelled by {by}{': ' + text if text else ''}", by=f"person:{by}")


def approve(item: WorkItem, by: str, text: str) -> Outcome:
    """Let a change go on that waits at review, secure or ship."""
    if item.stage not in APPROVABLE or item.change is None:
        raise Conflict(
            f"{item.id} waits at {item.stage}, where there is nothing to approve",
            f"it asks: {item.waiting_for[:200]}; use `item answer`, `item retry` or `item reject`",
        )
    approved = item.with_(approvals={**item.approvals, item.stage: by})
    return go_on(approved, item.stage, f"approved by {by} at {item.stage}{': ' + text if text else ''}", by)


def retry(item: WorkItem, by: str, text: str) -> Outcome:
    """Take the stage that stopped again; an item that had ended starts from its plan."""
    said = f"retried by {by}{': ' + text if text else ''}"
    if item.state is State.NEEDS_HUMAN:
        fresh = item.with_(attempts=()) if item.stage == "build" else item
        return go_on(fresh, item.stage, said, by)
    if item.release is not None and not item.release.reverted_by:
        return go_on(item, "monitor", said, by)
    fresh = item.with_(
        plan=of_a_person(item.plan), change=None, release=None, proposal=None, attempts=(), approvals={},
        round=item.round + 1, taken_by="",
    )  # fmt: skip
    return go_on(fresh, "plan", said, by)


def split(item: WorkItem, by: str, text: str) -> Outcome:
    """A duplicate is none: it sets out anew, and triage takes it for one of that item no more."""
    fresh = item.with_(
        state=State.RECEIVED, stage="triage", duplicate_of="", told_apart=(*item.told_apart, item.duplicate_of),
        plan=None, change=None, proposal=None, attempts=(), approvals={}, waiting_for="", round=item.round + 1,
        taken_by="",
    )  # fmt: skip
    said = f"{by} says it is no duplicate of {item.duplicate_of}{': ' + text if text else ''}"
    return Outcome(item=fresh, reason=said, by=f"person:{by}")


def look(item: WorkItem, text: str) -> Outcome:
    """Something changed on the forge: take the stage that waits for it again."""
    if item.stage not in ON_THE_FORGE:
        raise Conflict(f"{item.id} waits at {item.stage}, which no forge decides", "answer or retry it")
    moved = item.with_(state=BEFORE[item.stage], waiting_for="")
    return Outcome(item=moved, reason=f"looked at again: {text}", by="rule")


def revise(item: WorkItem, by: str, text: str) -> Outcome:
    """A reviewer asks for changes: this change is refused, and the next one is planned with the reviewer's words."""
    if item.stage != "ship" or item.change is None:
        raise Conflict(f"{item.id} waits at {item.stage}, where there is no change to revise", "answer or retry it")
    said = {"answers": (*item.answers, text), "body": with_answer(item, text)} if text.strip() else {}
    if item.change.author:
        why = f"{by} asks {item.taken_by} for changes{': ' + text if text else ''}"
        back = item.with_(**said, **hand.refused(item, why))
        return Outcome(item=back, reason=why, by=f"person:{by}")
    fresh = item.with_(
        **said, refused_diffs=(*item.refused_diffs, *refusals(item)), plan=of_a_person(item.plan), change=None,
        attempts=(), approvals={}, taken_by="",
    )  # fmt: skip
    return go_on(fresh, "plan", f"{by} asks for changes{': ' + text if text else ''}", by)


def observe(item: WorkItem, seen: Observed) -> Outcome:
    """What the site's own pipeline says of the change is a verdict like those of the gates; ship minds it."""
    reason = f"the site's pipeline {seen.name} {'passed' if seen.passed else 'failed'} on {seen.commit[:12]}"
    evidence = {"reason": reason, "commit": seen.commit, "url": seen.url}
    verdict = Verdict(
        gate=f"pipeline {seen.name}", verdict=Result.PASS if seen.passed else Result.FAIL, evidence=evidence
    )
    told = item.with_(verdicts=(*item.verdicts, verdict))
    if item.state is State.NEEDS_HUMAN and item.stage == "ship":
        told = told.with_(state=BEFORE["ship"], waiting_for="")
    return Outcome(item=told, reason=reason, by="rule")


def go_on(item: WorkItem, stage: str, reason: str, by: str) -> Outcome:
    """Back into a stage."""
    moved = item.with_(state=BEFORE[stage], stage=stage, waiting_for="")
    return Outcome(item=moved, reason=reason, by=f"person:{by}")


def with_answer(item: WorkItem, text: str) -> str:
    """The report with the answer, whose words the next attempt weighs (a bare number only picks a candidate)."""
    return item.body if text.strip().lstrip("#").isdigit() else f"{item.body}\n\n{text}"
