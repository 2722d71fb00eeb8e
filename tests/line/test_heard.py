"""Who may steer the box from a forge, by what, and what it never lets itself be talked into."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from appliance.errors import Unavailable
from appliance.intake.reading import polled
from appliance.ledger import Ledger, open_ledger
from appliance.ledger.lease import Worker
from appliance.line.incoming import Incoming
from appliance.line.steering import COMMANDS_PER_HOUR
from appliance.news import (
    ChangeNews,
    CommentNews,
    Delivery,
    IssueNews,
    News,
    PipelineNews,
    PushNews,
    ReportNews,
    ReviewNews,
)
from appliance.work import Change, Origin, Outcome, Plan, Proposal, Release, Signal, State, TrackedRepository, WorkItem
from tests.ledger.world import SteppedClock
from tests.line.forge import NotedForge

ISSUE = Origin(number="7")
REQUEST = Origin(kind="change", number="9")
BRANCH = "factory/W-1"
HEAD = "a" * 40


class World:
    """A ledger with one repository, a forge behind its port, and messages as a poll brings them."""

    def __init__(self, folder: Path) -> None:
        self.clock = SteppedClock()
        self.ledger: Ledger = open_ledger(folder / "ledger.db", self.clock)
        tracked = TrackedRepository(name="shop", url="file:///nowhere", branch="main", forge="gitea", project="t/s")
        self.ledger.add_repository(tracked)
        self.forge = NotedForge()
        self.fetched: list[str] = []
        self.incoming = Incoming(
            self.ledger, lambda one: self.fetched.append(one.name), lambda _: self.forge, "http://box"
        )
        self.number = 0

    def hear(self, *news: News) -> Delivery:
        """What became of a message that says this."""
        self.number += 1
        kept, _ = self.ledger.deliveries.take(*polled("shop", "gitea", str(self.number), news))
        self.incoming.work_off()
        return self.ledger.deliveries.get(kept.number)

    def item(self, state: State = State.NEEDS_HUMAN, stage: str = "ship", **fields: Any) -> None:
        """W-1 of issue 7, with a request."""
        key = "issue:7"
        signal = self.ledger.receive(Signal(id="", repo="shop", title="wrong", origin=ISSUE, key=key))
        fresh = WorkItem(id="", repo="shop", title="wrong", signals=(signal.id,), origin=ISSUE)
        self.ledger.open_item(signal.id, Outcome(item=fresh, reason="opened"))
        claim = self.ledger.claims.take(Worker.here(), 60, 3, [State.RECEIVED])
        assert claim is not None
        change = Change(branch=BRANCH, base="b" * 40, commit=HEAD, diff="--- a\n", message="Fix: wrong")
        known: dict[str, Any] = {
            "plan": Plan(base="b" * 40), "change": change, "waiting_for": "which one?",
            "proposal": Proposal(number="9", branch=BRANCH, commit=HEAD),
        }  # fmt: skip
        moved = claim.item.with_(state=state, stage=stage, **{**known, **fields})
        self.ledger.claims.record(claim, "triage", Outcome(item=moved, reason="moved"), 0.0)

    @property
    def commands(self) -> list[tuple[str, str, str]]:
        return [(one.verb, one.by, one.text) for one in self.ledger.open_commands()]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.ledger.close()


def issue(**fields: Any) -> IssueNews:
    told: dict[str, Any] = {"action": "opened", "origin": ISSUE, "title": "wrong", "labels": ("factory",), "by": "ann"}
    return IssueNews(**{**told, **fields})


def comment(text: str, by: str = "ann", **fields: Any) -> CommentNews:
    return CommentNews(**{"by": by, "origin": ISSUE, "id": "31", "text": text, **fields})


def review(verdict: Any, by: str = "ann", **fields: Any) -> ReviewNews:
    return ReviewNews(by=by, origin=REQUEST, verdict=verdict, branch=BRANCH, **fields)


def test_an_issue_assigned_to_the_box_s_account_by_somebody_with_the_right_is_taken(world: World) -> None:
    kept = world.hear(issue(action="assigned", labels=(), assignees=("Factory",)))
    assert (kept.state, kept.signal) == ("done", "S-1") and "assignment" in kept.why


def test_a_label_set_by_somebody_without_the_right_hands_nothing_over(world: World) -> None:
    kept = world.hear(issue(action="labelled", by="guest"))
    assert kept.state == "refused" and "guest may not write" in kept.why and world.ledger.signals() == []


def test_a_command_of_fix_files_an_issue_that_carries_no_label(world: World) -> None:
    kept = world.hear(comment("please\n/factory fix\n", title="wrong", body="sum is off", author="guest"))
    assert kept.state == "done"
    ((signal, _),) = world.ledger.signals()
    assert (signal.title, signal.body, signal.author, signal.origin) == ("wrong", "sum is off", "guest", ISSUE)
    assert signal.source == "poll:gitea"


def test_a_polled_comment_takes_the_words_of_its_issue_from_the_same_poll(world: World) -> None:
    world.hear(issue(labels=(), title="from the poll"), comment("/factory fix"))
    assert [signal.title for signal, _ in world.ledger.signals()] == ["from the poll"]


@pytest.mark.parametrize("by", ["guest", "nobody", ""])
@pytest.mark.parametrize("word", ["fix", "stop", "explain"])
def test_nobody_steers_who_may_not_write(world: World, by: str, word: str) -> None:
    world.item()
    kept = world.hear(comment(f"/factory {word}", by=by))
    assert kept.state == "refused" and "may not write" in kept.why
    assert world.commands == [] and world.forge.heard == []


@pytest.mark.parametrize(
    ("text", "state", "stage", "command"),
    [
        ("/factory stop", State.PLANNED, "build", ("cancel", "ann@gitea", "")),
        ("/factory fix", State.NEEDS_HUMAN, "build", ("retry", "ann@gitea", "")),
        ("/factory fix 2", State.NEEDS_HUMAN, "build", ("answer", "ann@gitea", "2")),
        ("/Factory  fix the second", State.NEEDS_HUMAN, "plan", ("answer", "ann@gitea", "the second")),
        ("/factory fix", State.CANCELLED, "build", ("retry", "ann@gitea", "")),
    ],
)
def test_commands_become_those_of_the_item(
    world: World, text: str, state: State, stage: str, command: tuple[str, str, str]
) -> None:
    world.item(state, stage)
    assert world.hear(comment(text)).item == "W-1"
    assert world.commands == [command]


@pytest.mark.parametrize(
    "text", ["thanks", "> /factory stop", "see /factory stop", "```\n/factory stop\n```", "/factory"]
)
def test_words_that_only_speak_of_a_command_are_none(world: World, text: str) -> None:
    world.item()
    assert world.hear(comment(text)).state == "ignored" and world.commands == []


def test_the_same_comment_heard_twice_commands_once(world: World) -> None:
    world.item(stage="build")
    world.hear(comment("/factory fix 2"))
    again = world.hear(comment("/factory fix 2"))
    assert len(world.commands) == 1 and "done before" in again.why


def test_explain_answers_in_a_comment_of_its_own(world: World) -> None:
    world.item()
    world.hear(comment("/factory explain", origin=REQUEST, branch=BRANCH))
    ((what, kind, number, mark, text),) = world.forge.heard
    assert (what, kind, number, mark) == ("say", "change", "9", "W-1:explain:comment:31") and "W-1" in text


def test_what_the_box_did_itself_is_ignored_with_that_reason(world: World) -> None:
    world.item()
    for news in (
        comment("/factory stop", by="Factory"),
        comment("<!-- factory:W-1:question -->\n/factory stop"),
        review("changes", by="factory"),
        PipelineNews(name="factory/test", outcome="failure", branch="main", commit=HEAD),
        issue(by="factory"),
    ):
        kept = world.hear(news)
        assert kept.state == "ignored" and kept.why.startswith("the box "), kept
    assert world.commands == [] and len(world.ledger.signals()) == 1


def test_two_programs_cannot_keep_each_other_busy(world: World) -> None:
    world.item()
    answers = [world.hear(comment("/factory explain", id=str(n))).state for n in range(COMMANDS_PER_HOUR + 3)]
    assert answers == ["done"] * COMMANDS_PER_HOUR + ["refused"] * 3
    assert len(world.forge.heard) == COMMANDS_PER_HOUR
    world.clock.pass_(3601)
    assert world.hear(comment("/factory explain", id="later")).state == "done"


def test_while_the_forge_does_not_answer_nothing_is_done_and_the_message_waits(world: World) -> None:
    world.item(State.PLANNED, "build")
    world.forge.broken = Unavailable("the forge does not answer", "is it up?")
    kept = world.hear(comment("/factory stop"))
    assert kept.state == "waiting" and "does not answer" in kept.why and world.commands == []
    world.forge.broken = None
    assert world.incoming.work_off() == 0, "it is left alone for a while"
    world.clock.pass_(3)
    assert world.incoming.work_off() == 1 and len(world.commands) == 1


def test_an_alert_is_filed_whether_or_not_the_forge_answers(world: World) -> None:
    world.forge.broken = Unavailable("away", "")
    assert world.hear(ReportNews(key="k", title="the disk is full")).state == "done"


@pytest.mark.parametrize(
    "news",
    [
        review("approved", by="guest"), review("dismissed"),
        ChangeNews(origin=REQUEST, state="merged", branch=BRANCH, by="ann"),
        PushNews(branch=BRANCH, by="ann", after="c" * 40),
        review("approved").with_(branch=""),
    ],
)  # fmt: skip
def test_what_happens_to_a_waiting_request_has_ship_look_again_once(world: World, news: News) -> None:
    world.item()
    assert world.hear(news).state == "done"
    world.hear(news)
    assert [verb for verb, *_ in world.commands] == ["look"]


@pytest.mark.parametrize("news", [review("approved"), review("changes"), ChangeNews(
    origin=REQUEST, state="closed", branch=BRANCH, by="ann")])  # fmt: skip
def test_what_comes_while_ship_runs_waits_for_its_end(world: World, news: News) -> None:
    world.item(State.SECURED)
    kept = world.hear(news)
    assert kept.state == "waiting" and world.commands == []


def test_asked_changes_are_planned_with_the_reviewer_s_words_and_only_for_what_was_reviewed(world: World) -> None:
    world.item()
    assert "is at aaaa" in world.hear(review("changes", text="older", commit="c" * 40)).why
    assert world.hear(review("changes", by="guest", text="no")).state == "refused"
    world.hear(review("changes", text="keep the lower bound", commit=HEAD))
    world.hear(review("changes", text="keep the lower bound", commit=HEAD))
    assert world.commands == [("revise", "ann@gitea", "keep the lower bound")]


def test_a_request_closed_there_rejects_the_item_in_that_person_s_name(world: World) -> None:
    world.item()
    closed = ChangeNews(origin=REQUEST, state="closed", branch=BRANCH, by="ann")
    world.forge.request = Proposal(number="9", branch=BRANCH, commit=HEAD)
    assert "open again" in world.hear(closed).why
    world.forge.request = world.forge.request.with_(state="closed")
    world.hear(closed)
    assert world.commands == [("reject", "ann@gitea", "request 9 was closed on the forge")]


def test_a_branch_of_another_round_or_repository_is_nobody_s(world: World) -> None:
    world.item()
    for branch in ("factory/W-1-2", "factory/W-1-revert", "factory/W-99", "factory/W-1/x", "topic"):
        news = ChangeNews(origin=Origin(kind="change", number="12"), state="merged", branch=branch, by="ann")
        assert world.hear(news).state == "ignored"
    assert world.commands == []


def pipeline(outcome: Any = "failure", branch: str = "main", commit: str = "c" * 40, name: str = "CI") -> PipelineNews:
    return PipelineNews(name=name, outcome=outcome, branch=branch, commit=commit, by="runner")


def test_a_pipeline_on_the_box_s_change_goes_into_its_story(world: World) -> None:
    world.item()
    world.hear(pipeline(branch=BRANCH, commit=HEAD))
    ((verb, _, text),) = world.commands
    assert verb == "observe" and '"passed":false' in text
    assert world.hear(pipeline(branch=BRANCH, commit="d" * 40)).state == "ignored"


def test_a_pipeline_that_fails_in_a_merge_train_has_its_request_s_item_looked_at(world: World) -> None:
    world.item()
    train = pipeline(branch="", commit="d" * 40, name="merge train pipeline").with_(request="9")
    assert world.hear(train.with_(outcome="success")).state == "ignored"
    assert world.hear(train.with_(request="12")).state == "ignored"
    assert world.commands == []
    world.hear(train)
    ((verb, _, why),) = world.commands
    assert verb == "look" and "request 9 was tried as merged" in why
    world.hear(train.with_(branch=BRANCH))
    assert len(world.commands) == 1, "it is asked to look already"


def test_a_pipeline_that_fails_on_the_default_branch_is_filed_until_it_is_settled(world: World) -> None:
    assert world.hear(pipeline()).signal == "S-1"
    assert world.hear(pipeline(commit="d" * 40)).state == "ignored"
    assert world.hear(pipeline(name="lint")).signal == "S-2"
    assert world.hear(pipeline(branch="topic")).state == "ignored"
    assert world.hear(pipeline("success")).state == "ignored"


@pytest.mark.parametrize(
    ("state", "filed"), [(State.SHIPPED, None), (State.ROLLED_BACK, False), (State.CLOSED, True)]
)  # fmt: skip
def test_a_pipeline_failing_on_the_box_s_own_release_waits_for_the_monitor(
    world: World, state: State, filed: bool | None
) -> None:
    release = Release(item="W-1", repo="shop", branch=BRANCH, commit="c" * 40, previous="b" * 40)
    world.item(state, "monitor", release=release)
    kept = world.hear(pipeline())
    if filed is None:
        assert kept.state == "waiting" and "monitored" in kept.why
    else:
        assert (kept.state == "done") == filed
        assert not filed or "W-1" in world.ledger.signal("S-2")[0].body


def closed(**fields: Any) -> IssueNews:
    return issue(action="closed", open=False, **fields)


def test_an_issue_that_somebody_closes_stops_its_item_once_with_the_reason(world: World) -> None:
    world.item()
    assert world.hear(closed()).why == "W-1 is stopped: its issue was closed by ann@gitea"
    world.hear(closed(by="bob"))
    assert world.commands == [("cancel", "ann@gitea", "issue 7 was closed on the forge")]


def test_a_closed_issue_stops_nothing_that_landed_ended_or_is_also_others_or_is_unknown(world: World) -> None:
    assert "not at work" in world.hear(closed()).why
    world.item(state=State.CLOSED)
    assert "nothing to stop" in world.hear(closed()).why and world.commands == []


def test_an_issue_that_a_merge_closed_has_ship_look_instead(world: World) -> None:
    world.item()
    world.forge.request = Proposal(number="9", branch=BRANCH, commit=HEAD, state="merged")
    world.hear(closed())
    assert [verb for verb, _, _ in world.commands] == ["look"]


def test_an_item_of_several_signals_goes_on_when_one_issue_is_closed(world: World) -> None:
    world.item(signals=("S-1", "S-2"))
    assert "goes on for 1 more" in world.hear(closed()).why and world.commands == []


def seen_closed(world: World, seconds: float = 60, **fields: Any) -> IssueNews:
    """A closed issue as a poll tells of it: that it is closed, not that it was closed just now."""
    when = world.ledger.signal("S-1")[0].created + timedelta(seconds=seconds)
    return issue(**{"action": "edited", "open": False, "closed": when, "by": "", **fields})


def test_an_issue_that_a_poll_sees_closed_stops_its_item_just_as_a_webhook_does(world: World) -> None:
    world.item()
    assert "W-1 is stopped" in world.hear(seen_closed(world)).why
    assert world.commands == [("cancel", "somebody@gitea", "issue 7 was closed on the forge")]


@pytest.mark.parametrize("first", ["closed", "edited"])
def test_each_closing_counts_once_however_often_and_whichever_way_it_is_heard(world: World, first: str) -> None:
    world.item(state=State.FAILED)
    assert "nothing to stop" in world.hear(seen_closed(world, action=first)).why
    for action in ("edited", "closed", "labelled"):
        assert "is known" in world.hear(seen_closed(world, action=action, title="the box commented")).why
    assert world.commands == []
    assert "nothing to stop" in world.hear(seen_closed(world, seconds=90)).why, "closed once more"


def test_an_issue_that_was_closed_before_it_was_taken_up_stops_nothing(world: World) -> None:
    world.item()
    assert "closed before the box took W-1 up" in world.hear(seen_closed(world, seconds=-60)).why
    assert "closed before the box took W-1 up" in world.hear(seen_closed(world, closed=None)).why
    assert world.commands == []
