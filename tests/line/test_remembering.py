"""What work teaches, by the real runner on a real ledger; the stages are put in place by each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from appliance.ledger import Ledger, open_ledger
from appliance.ledger.lease import Worker
from appliance.lesson import Lesson, LessonState, Source
from appliance.line.remembering import said
from appliance.line.runner import STAGES, Board, Runner
from appliance.settings import LearningSettings, LineSettings
from appliance.work import Change, Outcome, Plan, Release, Signal, State, TrackedRepository, WorkItem

ME = Worker.here()
CHANGE = Change(branch="factory/W-1", base="a" * 40, diff="", files=("shop/rates.py",))
NEW = {"tool": "bandit", "rule": "B602", "path": "shop/rates.py", "message": "shell=True.", "severity": "error"}


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = open_ledger(tmp_path / "ledger.db")
    opened.add_repository(TrackedRepository(name="shop", url="file:///nowhere", branch="main"))
    opened.receive(Signal(id="", repo="shop", title="rates are wrong"))
    yield opened
    opened.close()


Ends = Callable[[str, Callable[[WorkItem], Outcome]], Runner]


@pytest.fixture
def ends(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> Ends:
    """Let one stage take items as they are opened, and end as a test says."""

    def put(stage: str, run: Callable[[WorkItem], Outcome]) -> Runner:
        monkeypatch.setitem(STAGES, "triage", (State.REVIEWED, STAGES["triage"][1]))  # type: ignore[index]
        monkeypatch.setitem(STAGES, stage, (State.RECEIVED, lambda item, _parts: run(changed(item))))  # type: ignore[arg-type]
        monkeypatch.setattr("appliance.line.runner.STAGE_OF", {State.RECEIVED: stage})
        line = Runner(ledger, lambda _item, _say: None, LineSettings(), Board(), lambda: None)  # type: ignore[arg-type,return-value]
        assert line.step(ME)
        return line

    return put


def changed(item: WorkItem) -> WorkItem:
    return item.with_(change=CHANGE, plan=Plan(base="a" * 40))


def test_a_rejection_with_a_reason_becomes_a_proposed_lesson_of_the_place(ledger: Ledger, ends: Ends) -> None:
    line = ends("review", lambda item: Outcome(item=item.with_(state=State.NEEDS_HUMAN, stage="review"), reason="asks"))
    ledger.command("W-1", "reject", "ada", "rates are in cents, never floats")
    line.apply_commands(ME)
    (lesson,) = ledger.lessons.all()
    assert (lesson.state, lesson.source, lesson.home) == (LessonState.PROPOSED, Source.REJECTION, "shop")
    assert lesson.text == 'A change for "rates are wrong" was rejected: rates are in cents, never floats'
    assert (lesson.scope.repo, lesson.scope.path) == ("shop", "shop/rates.py")
    applied = ledger.history("W-1")[-1]
    assert (lesson.evidence[0].item, lesson.evidence[0].event) == ("W-1", applied.seq)
    assert ledger.tip()[0] == applied.seq + 1  # the lesson's own event is the next one, of the same transaction


def test_a_report_that_is_rejected_before_there_is_a_change_teaches_of_the_report() -> None:
    waiting = WorkItem(id="W-1", repo="shop", title="rates are wrong", state=State.NEEDS_HUMAN, stage="plan")
    after = Outcome(item=waiting.with_(state=State.REJECTED), reason="rejected")
    (lesson,) = said(waiting, after, "reject", "slow on purpose", LearningSettings()).proposals
    assert lesson.text == f'The report "{waiting.title}" was rejected: slow on purpose'


def test_what_the_box_itself_says_of_a_closed_request_teaches_nothing(ledger: Ledger, ends: Ends) -> None:
    line = ends("review", lambda item: Outcome(item=item.with_(state=State.NEEDS_HUMAN, stage="review"), reason="asks"))
    ledger.command("W-1", "reject", "ada@gitea", "request 7 was closed on the forge")
    line.apply_commands(ME)
    assert ledger.item("W-1").state is State.REJECTED
    assert ledger.lessons.all() == []


def test_changes_that_a_reviewer_asks_for_become_a_lesson(ledger: Ledger, ends: Ends) -> None:
    line = ends("ship", lambda item: Outcome(item=item.with_(state=State.NEEDS_HUMAN, stage="ship"), reason="asks"))
    ledger.command("W-1", "revise", "ada@gitea", "round at the end only")
    line.apply_commands(ME)
    (lesson,) = ledger.lessons.all()
    assert (lesson.source, lesson.scope.path) == (Source.CORRECTION, "shop/rates.py")
    assert lesson.text.endswith("a reviewer asked: round at the end only")


def test_a_finding_that_stopped_a_change_becomes_a_lesson_for_every_place(ledger: Ledger, ends: Ends) -> None:
    ends("secure", lambda item: Outcome(item=item.with_(state=State.NEEDS_HUMAN), reason="new", facts={"new": [NEW]}))
    (lesson,) = ledger.lessons.all()
    assert (lesson.source, lesson.scope.repo, lesson.scope.path) == (Source.FINDING, "", "")
    assert lesson.text == "bandit B602: shell=True. A change that brings this is stopped."
    assert lesson.evidence[0].path == "shop/rates.py"


def test_a_reverted_change_warns_of_its_place(ledger: Ledger, ends: Ends) -> None:
    def taken_back(item: WorkItem) -> Outcome:
        release = Release(item=item.id, repo="shop", branch="b", commit="c" * 40, previous="", reverted_by="d" * 40)
        return Outcome(
            item=item.with_(state=State.ROLLED_BACK, release=release), reason="on the server's head fails: t"
        )

    ends("monitor", taken_back)
    (lesson,) = ledger.lessons.all()
    assert (lesson.source, lesson.scope.path, lesson.evidence[0].commit) == (Source.REVERT, "shop/rates.py", "d" * 40)
    assert "(W-1) shipped and was reverted: on the server's head fails: t" in lesson.text


def test_a_stage_that_goes_on_as_usual_teaches_nothing(ledger: Ledger, ends: Ends) -> None:
    ends("secure", lambda item: Outcome(item=item.with_(state=State.SECURED), reason="nothing new"))
    assert ledger.lessons.all() == []


@pytest.mark.parametrize(
    ("stage", "state", "reason", "came_of"),
    [
        ("learn", State.CLOSED, "closed without a person", "held"),
        ("ship", State.NEEDS_HUMAN, "somebody pushed to factory/W-1: it is at b", "pushed"),
        ("ship", State.REJECTED, "request 7 was closed on the forge", "refused"),
        ("monitor", State.ROLLED_BACK, "on the server's head fails: t", "reverted"),
        ("build", State.BUILT, "built", ""),
    ],
)
def test_what_comes_of_an_item_is_what_came_of_its_lessons(
    ledger: Ledger, ends: Ends, stage: str, state: State, reason: str, came_of: str
) -> None:
    known = ledger.lessons.add(Lesson(text="rates are cents"), "ada")
    told = [{"lesson": known.id, "stage": "build", "role": "builder", "rank": 1, "score": 0.016, "how": "words"}]
    ends(stage, lambda item: Outcome(item=item.with_(state=state), reason=reason, facts={"lessons": told}))
    (use,) = ledger.lessons.uses(item="W-1")
    assert (use.lesson, use.round, use.came_of) == (known.id, 1, came_of)
