"""A clock that jumps: what the line looks for at intervals goes on."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from apscheduler.schedulers.background import BackgroundScheduler

from appliance.line.set_back import SetBack, plan_anew
from appliance.ports import SystemClock


class Hands:
    """A clock whose wall time and counter a test moves."""

    def __init__(self) -> None:
        self.wall, self.counter = datetime(2026, 11, 26, tzinfo=UTC), 100.0

    def now(self) -> datetime:
        return self.wall

    def monotonic(self) -> float:
        return self.counter

    def go(self, seconds: float, jump: float = 0.0) -> None:
        self.counter += seconds
        self.wall += timedelta(seconds=seconds + jump)


@pytest.fixture
def scheduler() -> Iterator[BackgroundScheduler]:
    made = BackgroundScheduler(timezone="UTC")
    made.start()
    yield made
    made.shutdown(wait=True)


def test_only_a_clock_that_goes_back_is_noticed_and_once() -> None:
    hands = Hands()
    set_back = SetBack(hands)
    seen = []
    for seconds, jump in ((0.5, 0.0), (0.5, -86_400.0), (0.5, 0.0), (0.5, 86_400.0), (0.5, -1.0), (0.5, -3.0)):
        hands.go(seconds, jump)
        seen.append(set_back.noticed())
    assert seen == [False, True, False, False, False, True]


def test_what_would_wait_for_the_old_time_runs_at_once(scheduler: BackgroundScheduler) -> None:
    ran = threading.Event()
    scheduler.add_job(ran.set, "interval", seconds=86_400)  # as one of a second whose next time is a day away
    assert not ran.is_set()
    plan_anew(scheduler, SystemClock())
    assert ran.wait(60)
    (job,) = scheduler.get_jobs()
    assert job.next_run_time > SystemClock().now()
