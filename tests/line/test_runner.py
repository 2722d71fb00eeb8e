from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from appliance.errors import Conflict, FactoryError, NoSandbox, NotFound, Unavailable
from appliance.ledger import Ledger, open_ledger
from appliance.ledger.lease import Worker
from appliance.line import runner as runner_module
from appliance.line.runner import STAGES, Board, Runner
from appliance.settings import LineSettings
from appliance.work import Outcome, Signal, State, TrackedRepository, WorkItem

ME = Worker.here()
SETTINGS = LineSettings(poll_seconds=0.01, stage_retries=2, lease_seconds=3.0)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = open_ledger(tmp_path / "ledger.db")
    opened.add_repository(TrackedRepository(name="shop", url="file:///nowhere", branch="main"))
    opened.receive(Signal(id="", repo="shop", title="it breaks"))
    yield opened
    opened.close()


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[WorkItem], Outcome]], None]:
    """Put a function in the place of triage."""

    def put(run: Callable[[WorkItem], Outcome]) -> None:
        monkeypatch.setitem(STAGES, "triage", (State.RECEIVED, lambda item, _parts: run(item)))  # type: ignore[arg-type]

    return put


def runner(ledger: Ledger, recorded: Callable[[], None] = lambda: None) -> Runner:
    return Runner(ledger, lambda _item, _progress: None, SETTINGS, Board(), recorded)  # type: ignore[arg-type,return-value]


def done(item: WorkItem, state: State = State.CLOSED) -> Outcome:
    return Outcome(item=item.with_(state=state), reason="done")


def test_a_signal_becomes_an_item_and_its_stage_is_recorded(ledger: Ledger, stage: Any) -> None:
    stage(done)
    anchored: list[int] = []
    assert runner(ledger, lambda: anchored.append(ledger.tip()[0])).step(ME)
    assert ledger.item("W-1").state is State.CLOSED
    assert [event.kind for event in ledger.history("W-1")] == ["ItemOpened", "SignalTriaged"]
    assert anchored == [4]
    assert not runner(ledger).step(ME)


def test_something_away_postpones_and_after_patience_a_person_is_asked(ledger: Ledger, stage: Any) -> None:
    def away(_item: WorkItem) -> Outcome:
        raise Unavailable("the git server does not answer", "is it up?")

    stage(away)
    line = runner(ledger)
    for _ in range(3):
        assert line.step(ME)
        with ledger.database.writing() as connection:  # as if the pause were over
            connection.exec_driver_sql("UPDATE items SET not_before_wall = 0")
    item = ledger.item("W-1")
    assert item.state is State.NEEDS_HUMAN
    assert item.waiting_for == "after 3 tries: the git server does not answer. is it up?"
    kinds = [event.kind for event in ledger.history("W-1")]
    assert kinds == ["ItemOpened", "StageErred", "StageErred", "SignalTriaged"]


def test_a_postponed_item_is_not_taken_before_its_time(ledger: Ledger, stage: Any) -> None:
    def away(_item: WorkItem) -> Outcome:
        raise Unavailable("away")

    stage(away)
    assert runner(ledger).step(ME)
    assert not runner(ledger).step(ME)


def test_what_is_new_is_taken_in_while_a_worker_is_in_a_long_stage(ledger: Ledger, stage: Any) -> None:
    begun, over, stop = threading.Event(), threading.Event(), threading.Event()

    def long(item: WorkItem) -> Outcome:
        begun.set()
        assert over.wait(60)
        return done(item)

    stage(long)
    line = runner(ledger)
    ledger.receive(Signal(id="", repo="shop", title="it asks"))
    line.take_in()
    worker = threading.Thread(target=line.step, args=(ME,))
    worker.start()
    assert begun.wait(60)
    attending = threading.Thread(target=line.attend, args=(stop,))
    attending.start()
    try:
        ledger.receive(Signal(id="", repo="shop", title="another one breaks"))
        ledger.command("W-2", "cancel", "a person")
        for _ in range(6000):
            if len(ledger.items()) == 3 and ledger.item("W-2").state is State.CANCELLED:
                break
            time.sleep(0.01)
    finally:
        stop.set()
        over.set()
        attending.join(60)
        worker.join(60)
    assert ledger.item("W-3").state is State.RECEIVED
    assert [event.kind for event in ledger.history("W-2")] == ["ItemOpened", "CommandGiven", "CommandApplied"]


def test_a_disk_that_is_full_ends_no_worker(ledger: Ledger, stage: Any, caplog: pytest.LogCaptureFixture) -> None:
    stop, tried = threading.Event(), threading.Event()

    def full() -> None:
        tried.set()
        raise OSError(28, "No space left on device")

    stage(done)
    worker = threading.Thread(target=runner(ledger, full).work, args=(0, stop))
    worker.start()
    try:
        assert tried.wait(60)
        tried.clear()
        ledger.receive(Signal(id="", repo="shop", title="another one"))
        assert tried.wait(60), "it goes on"
    finally:
        stop.set()
        worker.join(60)
    assert [item.state for item in ledger.items()] == [State.CLOSED, State.CLOSED]
    assert "the line stumbled" in caplog.text and "[Errno 28] No space left on device" in caplog.text


def test_of_two_items_that_are_said_to_be_duplicates_of_one_another_one_carries_on(ledger: Ledger) -> None:
    ledger.receive(Signal(id="", repo="shop", title="it breaks, too"))
    line = runner(ledger)
    line.take_in()
    ledger.command("W-1", "merge", "ann", "W-2")
    ledger.command("W-2", "merge", "bob", "W-1")
    line.take_in()
    assert [ledger.item(id).state for id in ("W-1", "W-2")] == [State.DUPLICATE, State.RECEIVED]
    assert ledger.history("W-2")[-1].payload["reason"] == ("refused: W-1 is duplicate: it does not carry on for W-2")


@pytest.mark.parametrize(
    ("into", "error", "hint"),
    [
        ("W-9", NotFound, "item list"), ("W-2", Conflict, "name another"), ("W-1", Conflict, "name W-2"),
        ("W-3", Conflict, "retry W-3 first"),
    ],
)  # fmt: skip
def test_nothing_becomes_a_duplicate_of_what_does_not_carry_on(
    ledger: Ledger, into: str, error: type[FactoryError], hint: str
) -> None:
    line = runner(ledger)
    for title in ("it breaks, too", "and this", "the fourth"):
        ledger.receive(Signal(id="", repo="shop", title=title))
    line.take_in()
    ledger.command("W-1", "merge", "ann", "W-2")
    ledger.command("W-3", "reject", "ann", "no")
    line.take_in()
    with pytest.raises(error) as caught:
        ledger.command("W-2", "merge", "bob", into)
    assert hint in caught.value.hint
    assert ledger.open_commands() == []


def test_a_refusal_stops_at_once_with_the_remedy(ledger: Ledger, stage: Any) -> None:
    def refused(_item: WorkItem) -> Outcome:
        raise NoSandbox("no usable sandbox on this machine", "apt-get install bubblewrap")

    stage(refused)
    assert runner(ledger).step(ME)
    item = ledger.item("W-1")
    assert (item.state, item.stage) == (State.NEEDS_HUMAN, "triage")
    assert "apt-get install bubblewrap" in item.waiting_for


def test_a_bug_of_ours_loses_no_item(ledger: Ledger, stage: Any, caplog: pytest.LogCaptureFixture) -> None:
    def broken(_item: WorkItem) -> Outcome:
        raise ZeroDivisionError("oops")

    stage(broken)
    assert runner(ledger).step(ME)
    assert ledger.item("W-1").state is State.RECEIVED
    assert ledger.history("W-1")[-1].payload["reason"] == "ZeroDivisionError: oops"
    assert "Traceback" in caplog.text


def test_an_outcome_whose_claim_was_taken_over_is_dropped(ledger: Ledger, stage: Any) -> None:
    def slow(item: WorkItem) -> Outcome:
        with ledger.database.writing() as connection:  # another worker took it while this one was away
            connection.exec_driver_sql("UPDATE items SET claim_no = claim_no + 1")
        return done(item)

    stage(slow)
    assert runner(ledger).step(ME)
    assert ledger.item("W-1").state is State.RECEIVED


def test_the_lease_is_renewed_while_a_stage_runs(ledger: Ledger, stage: Any) -> None:
    def slow(item: WorkItem) -> Outcome:
        time.sleep(SETTINGS.lease_seconds * 1.5)
        assert ledger.claims.take(replace(ME, slot=1), 1.0, 3, [State.RECEIVED]) is None
        return done(item)

    stage(slow)
    assert runner(ledger).step(ME)
    assert ledger.item("W-1").state is State.CLOSED


def test_commands_are_applied_between_stages(ledger: Ledger, stage: Any) -> None:
    stage(lambda item: done(item, State.NEEDS_HUMAN))
    line = runner(ledger)
    assert line.step(ME)
    ledger.command("W-1", "reject", "ada", "not ours")
    line.step(ME)
    assert ledger.item("W-1").state is State.REJECTED
    assert ledger.history("W-1")[-1].payload["by"] == "person:ada"


def test_a_command_that_came_too_late_is_closed_with_the_reason(ledger: Ledger, stage: Any) -> None:
    stage(lambda item: done(item, State.CLOSED))
    line = runner(ledger)
    line.open_signals()
    ledger.command("W-1", "cancel", "ada")
    with ledger.database.writing() as connection:
        body = ledger.item("W-1").with_(state=State.CLOSED).model_dump_json()
        connection.exec_driver_sql("UPDATE items SET state = 'closed', body = ?", (body,))
    line.step(ME)
    assert ledger.open_commands() == []
    assert ledger.history("W-1")[-1].payload["reason"].startswith("refused: W-1 is closed")


def test_two_workers_do_two_items_at_once(ledger: Ledger, stage: Any) -> None:
    ledger.receive(Signal(id="", repo="shop", title="another"))
    together = threading.Barrier(2, timeout=20)

    def meets(item: WorkItem) -> Outcome:
        together.wait()
        return done(item)

    stage(meets)
    line, stop = runner(ledger), threading.Event()
    workers = [threading.Thread(target=line.work, args=(slot, stop)) for slot in range(2)]
    for worker in workers:
        worker.start()
    while ledger.counts() != {"closed": 2}:
        time.sleep(0.02)
    stop.set()
    for worker in workers:
        worker.join()


def test_the_board_shows_what_is_done_now_and_is_cleared(ledger: Ledger, stage: Any) -> None:
    line = runner(ledger)
    seen: list[dict[str, object]] = []

    def look(item: WorkItem) -> Outcome:
        seen.extend(line.board.slots.values())
        return done(item)

    stage(look)
    line.step(ME)
    assert [(one["item"], one["stage"], one["doing"]) for one in seen] == [("W-1", "triage", "starting")]
    assert line.board.slots == {}
    assert runner_module.STAGE_OF[State.RECEIVED] == "triage"
