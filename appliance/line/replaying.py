"""Replays in quiet hours: a process of its own does what is due while no item waits, and ends as soon as one does.

Whatever it had tried by then is in the ledger; it goes on from there when it is quiet again.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from datetime import datetime

from appliance.config import Home
from appliance.ledger import Ledger
from appliance.line.replay.scheduled import may_be_due
from appliance.line.runner import STAGES
from appliance.ports import Clock

log = logging.getLogger("appliance.line")

QUIET_SECONDS = 60.0
"""How long nothing has waited before a replay begins, and how often the line looks whether one may be due."""
AGAIN_SECONDS = 3600.0
"""After one has ended: there may be nothing due, or something in its way."""


def replay_in(home: Home) -> Sequence[str]:
    """The command that does what is due in a home."""
    return (sys.executable, "-m", "appliance", "learn", "replay", "--due", "--background", "--home", str(home.root))


class Replaying:
    """Starts and ends the process. `look` is called often, always by the thread whose end is the process's end."""

    def __init__(self, ledger: Ledger, argv: Sequence[str], days: float, clock: Clock) -> None:
        """`days` lie between two replays of a repository; 0: none ever begins."""
        self._ledger, self._argv, self._days, self._clock = ledger, argv, days, clock
        self._process: subprocess.Popen[bytes] | None = None
        self._not_before = clock.monotonic() + QUIET_SECONDS

    def look(self) -> None:
        """End it when items wait; begin one when it is quiet and one may be due."""
        if not self._days or (self._process is None and self._clock.monotonic() < self._not_before):
            return
        if self.busy():
            self.end()
            self._not_before = self._clock.monotonic() + QUIET_SECONDS
        elif self._process is None:
            self._begin(self._clock.now())
        elif self._process.poll() is not None:
            log.info("a replay in quiet hours has ended with status %d", self._process.returncode)
            self._process = None
            self._not_before = self._clock.monotonic() + AGAIN_SECONDS

    def busy(self) -> bool:
        """Is there anything to do for the line?"""
        states = [state for state, _ in STAGES.values()]
        return self._ledger.claims.any_due(states) or bool(self._ledger.signals(unopened=True, limit=1))

    def end(self) -> None:
        """End the process at once, if there is one."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process = None
        log.info("a replay in quiet hours makes room for work; it goes on later")

    def _begin(self, now: datetime) -> None:
        self._not_before = self._clock.monotonic() + QUIET_SECONDS
        repos = [one.name for one in self._ledger.repositories()]
        if may_be_due(self._ledger, repos, now, self._days):
            log.info("it is quiet: looking whether a replay is due")
            self._process = subprocess.Popen(self._argv, stdin=subprocess.DEVNULL, start_new_session=True)
