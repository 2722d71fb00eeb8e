"""A wall clock that is set back. The scheduler plans by it, and would wait until the old time has come again."""

from __future__ import annotations

from apscheduler.schedulers.base import BaseScheduler

from appliance.ports import Clock

LEAST_SECONDS = 2.0
"""Less than this delays a look by no more; clocks that are kept in step move by so little all the time."""


class SetBack:
    """Compares the wall clock with the machine's own counter, which nobody can set."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ahead = self._difference()

    def noticed(self) -> bool:
        """Was the clock set back since the last look?"""
        before, self._ahead = self._ahead, self._difference()
        return self._ahead < before - LEAST_SECONDS

    def _difference(self) -> float:
        return self._clock.now().timestamp() - self._clock.monotonic()


def plan_anew(scheduler: BaseScheduler, clock: Clock) -> None:
    """Let every job run now, and from now on in its interval."""
    for job in scheduler.get_jobs():
        job.modify(next_run_time=clock.now())
