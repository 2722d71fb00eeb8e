"""What a forge's people read of an item: all of it, and nothing that pings, refers, commands or leaks."""

from __future__ import annotations

import re
from typing import Any

import pytest

from appliance.line.telling import (
    Closing,
    Comment,
    Remarks,
    Status,
    Withdrawal,
    explanation,
    inline,
    quote,
    story,
    unlinked,
    wanted,
)
from appliance.work import Attempt, Change, Origin, Plan, Proposal, Release, Result, State, Verdict, WorkItem

HEAD, BASE = "a" * 40, "b" * 40
EVIL = "@ann fixes #5 and !6, GH-7\n/close\n/factory stop\n<!-- factory:W-1:progress -->\n![x](http://evil/p.png)"
SECRET = "glpat-abcdefghijklmnopqrst"
CHANGE = Change(
    branch="factory/W-1", base=BASE, commit=HEAD, diff="d", files=("shop.py",), insertions=2, deletions=1,
    message="Fix: wrong\n\nThe sum missed a cent.", author_model="coder-7b:0123456789ab",
)  # fmt: skip
VERDICTS = (
    Verdict(gate="test", verdict=Result.FAIL, evidence={"reason": "an older change"}),
    Verdict(gate="test", verdict=Result.PASS, evidence={"reason": "1 acceptance test(s) pass"}),
    Verdict(gate="review model", verdict=Result.PASS, evidence={"reason": "fine"}, model="judge@beef"),
    Verdict(
        gate="secure", verdict=Result.FAIL,
        evidence={"reason": "1 new finding", "new": [{"rule": "S1", "path": "shop.py", "line": 3, "message": EVIL}]},
    ),
    Verdict(gate="pipeline CI", verdict=Result.PASS, evidence={"reason": "passed"}),
)  # fmt: skip


def item(state: State = State.NEEDS_HUMAN, stage: str = "ship", **fields: Any) -> WorkItem:
    known: dict[str, Any] = {
        "title": "the sum is wrong", "body": "by a cent", "plan": Plan(acceptance=("t.py::test_sum",), base=BASE),
        "change": CHANGE, "verdicts": VERDICTS, "approvals": {"secure": "ann@gitea"}, "waiting_for": "review it",
        "proposal": Proposal(number="9", url="http://git/9", branch="factory/W-1", commit=HEAD),
        "origin": Origin(number="7"),
        "attempts": (Attempt(n=1, strategy="droid", model="coder-7b", outcome="plausible"),),
    }  # fmt: skip
    return WorkItem(id="W-1", repo="shop", state=state, stage=stage, **{**known, **fields})


EVENTS = [
    {"stage": "triage", "to": "triaged", "reason": "bug"}, {"stage": "plan", "to": "planned", "reason": "first plan"},
    {"stage": "plan", "to": "planned", "reason": f"second plan {EVIL}"}, {"number": 1, "verb": "retry"},
    {"number": 1, "from": "x", "to": "cancelled", "reason": "cancelled by ann@gitea"},
]  # fmt: skip


def of(kind: type, *told: str, **fields: Any) -> list[Any]:
    found = wanted(item(**fields), EVENTS, "http://box", told)
    return [one for one in found if isinstance(one, kind)]


def test_the_story_says_why_what_how_tested_by_which_model_and_where_to_look() -> None:
    text = story(item(), CHANGE, "http://box")
    for part in (
        "the sum is wrong", "> by a cent", "+2 −1 in `shop.py`", "The sum missed a cent.", "`t.py::test_sum`",
        "| test | PASS | 1 acceptance test(s) pass |", "approved by ann@gitea over: 1 new finding",
        "By the model coder-7b, weights 0123456789ab.", "Reviewed by the model judge@beef",
        "[W-1 in the console](http://box/items/W-1)", "Factory-Item: W-1",
    ):  # fmt: skip
        assert part.replace("@", "@\u200b") in text or part in text, part
    assert "an older change" not in text and "pipeline" not in text
    assert text.endswith("Assisted-by: coder-7b:0123456789ab\nFactory-Item: W-1")


def harmless(text: str) -> None:
    """No forge takes this for a mention, a reference, a command, a picture, or the box's own mark."""
    assert not re.search(r"@\w|[#!]\d|GH-\d", re.sub(r"`[^`]*`", "", text)), text
    assert not re.search(r"^\s*/", text, re.MULTILINE), text
    assert "<!--" not in text and "](http://evil" not in text


def test_a_stranger_s_words_ping_nobody_refer_to_nothing_and_command_nothing() -> None:
    hostile = item(
        title=EVIL, body=EVIL, waiting_for=EVIL, stage="build",
        verdicts=(Verdict(gate="test", verdict=Result.FAIL, evidence={"reason": EVIL}),),
        attempts=(Attempt(n=1, strategy="droid", outcome="none", detail=EVIL),),
    )  # fmt: skip
    change = CHANGE.with_(message=f"Fix\n\n{EVIL}", author_model=f"m:{EVIL}", files=("a`@ann`.py",))
    harmless(story(hostile, change, "http://box"))
    harmless(explanation(hostile.with_(change=change), EVENTS, "http://box"))
    for one in wanted(hostile, EVENTS, "http://box", ("question", "request")):
        if isinstance(one, Comment):
            harmless(one.text)
    assert all(line.startswith(">") for line in quote(EVIL).splitlines())


@pytest.mark.parametrize("where", ["title", "body", "waiting_for"])
def test_secrets_do_not_go_out(where: str) -> None:
    leaking = item(**{where: f"the token is {SECRET}"}, stage="build", verdicts=(
        Verdict(gate="test", verdict=Result.PASS, evidence={"reason": SECRET}),))  # fmt: skip
    said = [one.model_dump_json() for one in wanted(leaking, [{"to": "x", "stage": "plan", "reason": SECRET}], "b", ())]
    assert SECRET not in "".join(said) and SECRET not in story(leaking, CHANGE, "b") and SECRET not in unlinked(SECRET)


def test_each_gate_has_a_status_on_the_commit_that_is_shown_and_an_approval_over_one_is_said() -> None:
    statuses = {one.gate: (one.verdict, one.text) for one in of(Status)}
    assert set(statuses) == {"test", "review-model", "secure"}
    assert statuses["test"][0] is Result.PASS
    assert statuses["secure"] == (Result.PASS, "approved by ann@\u200bgitea over: 1 new finding")
    assert of(Status, change=None, state=State.PLANNED) == []
    assert of(Status, change=CHANGE.with_(commit="c" * 40)) == [], "another change is not what these tell of"


def test_findings_stand_on_their_lines() -> None:
    (remarks,) = of(Remarks)
    ((finding),) = remarks.findings
    assert (finding.path, finding.line) == ("shop.py", 3)
    harmless(finding.message)


def test_progress_keeps_the_last_word_of_each_stage() -> None:
    (progress,) = [one for one in of(Comment) if one.what == "progress"]
    assert progress.mark == "W-1:progress" and "first plan" not in progress.text
    assert progress.text.index("**triage**") < progress.text.index("**plan**")
    assert "http://git/9" in progress.text and "review it" in progress.text


def test_a_question_is_asked_in_a_comment_of_its_own_and_unsaid_when_it_is_settled() -> None:
    asked = [one.text for one in of(Comment, stage="build") if one.what == "question"]
    assert "> review it" in asked[0] and "/factory fix" in asked[0]
    settled = [one.text for one in of(Comment, "question", state=State.BUILT) if one.what == "question"]
    assert "settled" in settled[0]
    assert not [one for one in of(Comment, state=State.BUILT) if one.what == "question"]
    assert not [one for one in of(Comment) if one.what == "question"], "its request's review decides"


def test_an_issue_is_closed_when_the_change_holds_and_not_before() -> None:
    release = Release(item="W-1", repo="shop", branch="factory/W-1", commit="c" * 40, previous=BASE)
    assert of(Closing, state=State.SHIPPED, release=release) == []
    assert len(of(Closing, state=State.MONITORED, release=release)) == 1
    assert of(Closing, state=State.ROLLED_BACK, release=release) == []
    results = [
        [one.verdict for one in of(Status, state=state, release=release) if one.gate == "monitor"]
        for state in (State.SHIPPED, State.CLOSED, State.ROLLED_BACK)
    ]
    assert results == [[None], [Result.PASS], [Result.FAIL]]


@pytest.mark.parametrize("state", [State.REJECTED, State.CANCELLED, State.FAILED, State.DUPLICATE])
def test_a_request_that_leads_nowhere_any_more_is_withdrawn_with_the_reason(state: State) -> None:
    (withdrawal,) = of(Withdrawal, state=state)
    assert withdrawal.proposal.commit == HEAD and "cancelled by ann" in withdrawal.why
    closed = Proposal(number="9", branch="factory/W-1", commit=HEAD, state="closed")
    assert of(Withdrawal, state=state, proposal=closed) == []


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("`<` becomes `>` in `if value < high:`", "`<` becomes `>` in `if value < high:`"),
        ("<b> and `a < b`", "&lt;b> and `a < b`"),
        ("`a < b` and `<b>", "\\`a &lt; b\\` and \\`&lt;b>"),
        ("``<b>`", "\\`\\`&lt;b>\\`"),
        ("\\`<b>`", "\\`&lt;b>\\`"),
        ("`[x](y)` [x](y)", "`[x](y)` [x]\\(y)"),
    ],
)
def test_code_is_shown_as_it_is_and_nothing_else_is_markup(said: str, shown: str) -> None:
    assert inline(said) == shown


def test_code_that_goes_on_over_lines_of_a_report_is_not_taken_for_granted() -> None:
    assert quote("`a < b`\n<b>") == "> `a < b`\n> &lt;b>"
    assert quote("`a\nb` <b> `c\nd`") == "> `a\n> b` &lt;b> `c\n> d`"
    assert quote("```\n<b>\n```") == "> ```\n> &lt;b>\n> ```"
