"""When a replay is due that nobody asked for, and how it makes room for work."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from appliance.config import Home
from appliance.ledger import Ledger, open_ledger
from appliance.line import signal
from appliance.line.replay import book
from appliance.line.replay.book import Run, Story
from appliance.line.replay.due import Due, due, rested
from appliance.line.replay.scheduled import may_be_due
from appliance.line.replay.tasks import AUTO, EARLIER, Setup
from appliance.line.replaying import AGAIN_SECONDS, QUIET_SECONDS, Replaying
from appliance.work import Signal, TrackedRepository

T = datetime(2026, 11, 1, tzinfo=UTC)
OLD = Setup(order=("large:1", "small:2"), models=("large:1", "small:2"))


def ran(*contenders: str, setup: Setup = OLD, ended: bool = True, why: str = "due", day: int = 0) -> Run:
    return Run(1, contenders, ("M-1",), ended=ended, setup=setup, why=why, at=T + timedelta(days=day))


def test_the_first_is_what_later_ones_are_compared_with_and_without_a_change_nothing_is_due() -> None:
    first = due(Story(), OLD)
    assert first is not None and first.contenders == (AUTO,)
    assert due(Story(runs=[ran(AUTO)]), OLD) is None
    assert due(Story(runs=[ran("search", AUTO, why="")]), OLD) is None, "one that a person asked for counts too"


def test_a_changed_order_is_compared_with_the_earlier_one() -> None:
    now = OLD.with_(order=("small:2", "large:1"))
    assert due(Story(runs=[ran(AUTO)]), now) == Due(
        (AUTO, EARLIER), "the order of models was large:1, small:2, and is small:2, large:1"
    )


@pytest.mark.parametrize("new", ["coder:7", "small:3"], ids=["admitted", "replaced"])
def test_a_model_that_is_new_is_compared_with_what_the_router_chooses_once(new: str) -> None:
    now = OLD.with_(models=(*OLD.models, new))
    name = new.partition(":")[0]
    assert due(Story(runs=[ran(AUTO)]), now) == Due((name, AUTO), f"{new} is new")
    assert due(Story(runs=[ran(AUTO), ran(name, AUTO, setup=now, ended=False)]), now) == Due((name, AUTO), "due")
    assert due(Story(runs=[ran(AUTO), ran(name, AUTO, setup=now)]), now) is None


def test_what_was_cut_off_goes_on_at_once_if_all_is_still_the_same() -> None:
    cut = [ran(AUTO), ran(AUTO, setup=OLD, ended=False, day=8)]
    assert rested(Story(runs=cut), T, T + timedelta(days=8, hours=1), 7)
    assert due(Story(runs=cut), OLD) == Due((AUTO, EARLIER), "due")
    assert not rested(Story(runs=[ran(AUTO, ended=False, why="")]), T, T + timedelta(days=1), 7), "a person's waits"


def test_days_lie_between_two_replays_and_before_the_first(home: Home) -> None:
    ledger = open_ledger(home)
    ledger.add_repository(TrackedRepository(name="shop", url="file:///srv/shop.git", branch="main"))
    now = datetime.now(UTC)
    assert may_be_due(ledger, ["shop"], now + timedelta(days=6), 7) == []
    assert may_be_due(ledger, ["shop"], now + timedelta(days=8), 7) == ["shop"]
    book.start(ledger, "shop", Run(1, (AUTO,), ("M-1",), setup=OLD, why="the first"))
    book.end(ledger, "shop", 1, "as good")
    [told] = book.read(ledger, "shop").runs
    assert (told.setup, told.why, told.words, told.ended) == (OLD, "the first", "as good", True)
    assert may_be_due(ledger, ["shop"], now + timedelta(days=6), 7) == []
    ledger.close()


class Quick:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(days=8, seconds=self.seconds)

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds


def at_work(ledger: Ledger, mark: Path, seconds: float, days: float = 7.0) -> tuple[Replaying, Quick]:
    code = f"import pathlib, time; pathlib.Path({str(mark)!r}).touch(); time.sleep({seconds})"
    clock = Quick()
    return Replaying(ledger, [sys.executable, "-c", code], days, clock), clock


@pytest.fixture
def ledger(home: Home) -> Ledger:
    made = open_ledger(home)
    made.add_repository(TrackedRepository(name="shop", url="file:///srv/shop.git", branch="main"))
    return made


def test_it_begins_when_it_is_quiet_and_ends_at_once_when_work_comes(ledger: Ledger, tmp_path: Path) -> None:
    replaying, clock = at_work(ledger, tmp_path / "begun", 600)
    replaying.look()
    assert replaying._process is None, "not right at the start"
    clock.sleep(QUIET_SECONDS)
    replaying.look()
    process = replaying._process
    assert process is not None and process.poll() is None
    received = ledger.receive(Signal(id="", repo="shop", title="it is wrong"))
    replaying.look()
    assert process.returncode == -9 and replaying._process is None
    clock.sleep(10 * QUIET_SECONDS)
    ledger.open_item(received.id, signal.run(received))
    replaying.look()
    assert replaying._process is None and replaying.busy(), "an item waits"
    ledger.close()


def test_one_that_has_ended_is_not_begun_again_for_a_while(ledger: Ledger, tmp_path: Path) -> None:
    replaying, clock = at_work(ledger, tmp_path / "begun", 0)
    clock.sleep(QUIET_SECONDS)
    replaying.look()
    assert replaying._process is not None
    replaying._process.wait(60)
    replaying.look()
    (tmp_path / "begun").unlink()
    clock.sleep(AGAIN_SECONDS - 1)
    replaying.look()
    assert replaying._process is None and not (tmp_path / "begun").exists()
    never, clock = at_work(ledger, tmp_path / "begun", 0, days=0)
    clock.sleep(2 * AGAIN_SECONDS)
    never.look()
    assert never._process is None
    ledger.close()
