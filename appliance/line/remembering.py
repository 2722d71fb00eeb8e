"""What the end of a stage, or a person's word, teaches: lessons to propose, lessons used, what came of them. Pure.

Only what tells something is proposed: a person's reason, a scanner's finding that stopped a change, tests that a change
broke, a change that was taken back. An item teaches at most one lesson of a kind; the ledger makes one of what says the
same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from appliance.language import language_of
from appliance.lesson import (
    DROPPED,
    HELD,
    NOTHING,
    PUSHED,
    REFUSED,
    REVERTED,
    Evidence,
    Learned,
    Lesson,
    Scope,
    Source,
    Use,
    place_of,
)
from appliance.settings import LearningSettings
from appliance.work import Outcome, State, WorkItem

CLOSED_THERE = "was closed on the forge"
"""How a request or an issue that was closed is told: the box's own words, and no reason of a person."""
PUSHED_THERE = "somebody pushed to "
"""How ship begins when a person's push came into the change."""

ENDS: Mapping[State, str] = {
    State.CLOSED: HELD,
    State.ROLLED_BACK: REVERTED,
    State.REJECTED: REFUSED,
    State.CANCELLED: DROPPED,
    State.DUPLICATE: DROPPED,
    State.FAILED: DROPPED,
}
"""How an item ended → what came of the lessons it had used."""


def taught(before: WorkItem, outcome: Outcome, stage: str, settings: LearningSettings) -> Learned:
    """What the end of a stage teaches."""
    after = outcome.item
    proposals: tuple[Lesson, ...] = ()
    if stage == "secure" and after.state is State.NEEDS_HUMAN:
        proposals = of_findings(before, outcome.facts)
    elif stage == "test" and after.state is State.PLANNED:
        proposals = of_broken_tests(before, outcome.reason)
    elif stage == "monitor" and after.state is State.ROLLED_BACK:
        proposals = of_revert(after, outcome.reason)
    pushed = stage == "ship" and outcome.reason.startswith(PUSHED_THERE)
    return kept(proposals, used_in(outcome.facts), PUSHED if pushed else ENDS.get(after.state, ""), settings)


def said(before: WorkItem, outcome: Outcome, verb: str, text: str, settings: LearningSettings) -> Learned:
    """What a person's command teaches."""
    words = text.strip()
    proposals: tuple[Lesson, ...] = ()
    if verb == "reject" and words and not words.endswith(CLOSED_THERE):
        what = "A change for" if before.change else "The report"
        proposals = of_person(before, Source.REJECTION, f'{what} "{before.title}" was rejected: {words}')
    elif verb == "revise" and words:
        proposals = of_person(before, Source.CORRECTION, f'Of a change for "{before.title}" a reviewer asked: {words}')
    return kept(proposals, (), ENDS.get(outcome.item.state, ""), settings)


def kept(proposals: tuple[Lesson, ...], uses: tuple[Use, ...], came_of: str, settings: LearningSettings) -> Learned:
    """As the ledger takes it."""
    if not (proposals or uses or came_of):
        return NOTHING
    return Learned(
        proposals=proposals, uses=uses, came_of=came_of,
        successes=settings.lesson_successes, failures=settings.lesson_failures,
    )  # fmt: skip


def used_in(facts: Mapping[str, Any]) -> tuple[Use, ...]:
    """The lessons a stage says it used."""
    return tuple(Use.model_validate(one) for one in facts.get("lessons", ()))


def of_person(item: WorkItem, source: Source, words: str) -> tuple[Lesson, ...]:
    """A person's reason, at the place the change was."""
    return (lesson(item, source, words, files_of(item)),)


def of_findings(item: WorkItem, facts: Mapping[str, Any]) -> tuple[Lesson, ...]:
    """The first new finding, in words that hold for every place and every repository."""
    found: Sequence[Mapping[str, Any]] = facts.get("new", ())
    if not found:
        return ()
    worst = min(found, key=lambda one: one.get("severity") != "error")
    words = f"{worst['tool']} {worst['rule']}: {worst['message']} A change that brings this is stopped."
    evidence = Evidence(repo=item.repo, item=item.id, commit=item.plan.base if item.plan else "", path=worst["path"])
    return (
        Lesson(
            text=words, scope=Scope(language=language_of([worst["path"]])), source=Source.FINDING, home=item.repo,
            evidence=(evidence,),
        ),
    )  # fmt: skip


def of_broken_tests(item: WorkItem, reason: str) -> tuple[Lesson, ...]:
    """A change that passed where it was built and not in a fresh clone."""
    where = ", ".join(files_of(item)[:3])
    words = f'A change of {where} for "{item.title}" was refused by the tests: {reason}'
    return (lesson(item, Source.ATTEMPT, words, files_of(item)),) if where else ()


def of_revert(item: WorkItem, reason: str) -> tuple[Lesson, ...]:
    """A change that was taken back warns whoever changes the place next."""
    where = ", ".join(files_of(item)[:3]) or "the code"
    words = f'A change of {where} for "{item.title}" ({item.id}) shipped and was reverted: {reason}'
    made = lesson(item, Source.REVERT, words, files_of(item))
    commit = item.release.reverted_by if item.release else ""
    return (made.with_(evidence=tuple(one.with_(commit=commit) for one in made.evidence)),)


def lesson(item: WorkItem, source: Source, words: str, files: Sequence[str]) -> Lesson:
    """A lesson of one place of the item's repository."""
    place = place_of(files)
    commit = item.change.commit if item.change else ""
    evidence = Evidence(repo=item.repo, item=item.id, commit=commit, path=files[0] if files else "")
    scope = Scope(repo=item.repo, path=place, language=language_of(files))
    return Lesson(text=words, scope=scope, source=source, home=item.repo, evidence=(evidence,))


def files_of(item: WorkItem) -> tuple[str, ...]:
    """The files a change touches, less the tests that came with it; without a change none."""
    own = {test.path for test in item.plan.tests} if item.plan else set()
    files = item.change.files if item.change else ()
    return tuple(path for path in files if path not in own) or files
