from __future__ import annotations

from typing import Any

import pytest

from appliance.errors import Conflict
from appliance.line.build import chosen_by_person
from appliance.line.commands import BEFORE, decide
from appliance.line.diffs import fingerprint
from appliance.line.runner import STAGES
from appliance.work import Attempt, Candidate, Change, Release, State, WorkItem

CHANGE = Change(branch="factory/W-1", base="c0", diff="d")


def waiting(stage: str, **more: Any) -> WorkItem:
    return WorkItem(
        id="W-1", repo="shop", title="t", state=State.NEEDS_HUMAN, stage=stage, change=CHANGE, waiting_for="x", **more
    )


def test_the_states_before_the_stages_are_those_of_the_runner() -> None:
    assert {stage: state for stage, (state, _) in STAGES.items()} == BEFORE


@pytest.mark.parametrize("stage", ["review", "secure", "ship"])
def test_approval_lets_the_stage_go_on_and_is_kept_with_its_giver(stage: str) -> None:
    outcome = decide(waiting(stage), "approve", "ada", "")
    assert (outcome.item.state, outcome.item.stage) == (BEFORE[stage], stage)
    assert outcome.item.approvals == {stage: "ada"}
    assert outcome.by == "person:ada"


@pytest.mark.parametrize("stage", ["plan", "build", "test", "monitor"])
def test_where_there_is_nothing_to_approve_it_is_said(stage: str) -> None:
    with pytest.raises(Conflict, match=f"waits at {stage}"):
        decide(waiting(stage), "approve", "ada", "")


def test_an_approval_of_the_review_does_not_approve_the_shipping() -> None:
    outcome = decide(waiting("review"), "approve", "ada", "")
    assert "ship" not in outcome.item.approvals


def test_reject_and_cancel_end_the_item_with_the_reason() -> None:
    rejected = decide(waiting("ship"), "reject", "ada", "not wanted")
    cancelled = decide(waiting("ship"), "cancel", "ada", "")
    assert (rejected.item.state, cancelled.item.state) == (State.REJECTED, State.CANCELLED)
    assert "not wanted" in rejected.reason


def test_a_rejected_item_retried_is_planned_afresh() -> None:
    ended = waiting("ship", approvals={"ship": "ada"}).with_(state=State.REJECTED)
    again = decide(ended, "retry", "ada", "").item
    assert (again.state, again.change, again.approvals) == (State.TRIAGED, None, {})
    assert again.round == 2, "its request was closed with the first round: this one gets a branch of its own"


def test_a_shipped_change_is_never_built_again_by_a_retry() -> None:
    release = Release(item="W-1", repo="shop", branch="b", commit="c", previous="p")
    again = decide(waiting("monitor", release=release).with_(state=State.FAILED), "retry", "ada", "").item
    assert (again.state, again.stage) == (State.SHIPPED, "monitor")


CANDIDATES = tuple(Candidate(diff=f"d{n}", files={}, origin="t") for n in (1, 2))
AMBIGUOUS = Attempt(n=1, strategy="search", outcome="ambiguous", candidates=CANDIDATES)


@pytest.mark.parametrize(
    ("text", "chosen"),
    [("2", 1), ("candidate 1", 0), ("#2", 1), ("3", None), ("0", None), ("-1", None), ("the second", None)],
)
def test_an_answer_with_a_number_chooses_a_candidate(text: str, chosen: int | None) -> None:
    item = decide(waiting("build", attempts=(AMBIGUOUS,)), "answer", "ada", text).item
    assert chosen_by_person(item) == (None if chosen is None else CANDIDATES[chosen])


def test_a_candidate_that_the_tests_turned_down_cannot_be_chosen_again() -> None:
    refused = waiting("build", attempts=(AMBIGUOUS,), refused_diffs=(fingerprint("d2"),))
    assert chosen_by_person(decide(refused, "answer", "ada", "2").item) is None


def test_an_answer_in_words_is_added_to_the_report() -> None:
    item = decide(waiting("build", attempts=(AMBIGUOUS,)), "answer", "ada", "f(0) should be 1").item
    assert item.body.endswith("f(0) should be 1")
    assert decide(waiting("build"), "answer", "ada", "2").item.body == ""


def test_a_merged_item_ends_as_a_duplicate_of_the_other() -> None:
    item = decide(waiting("plan"), "merge", "ada", "W-7").item
    assert (item.state, item.duplicate_of) == (State.DUPLICATE, "W-7")
