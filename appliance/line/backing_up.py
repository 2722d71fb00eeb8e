"""Backups by schedule: a process of its own, started when the ledger says that one is due. The command itself writes
down how it ended; one that is killed leaves the older backups whole, and the next one goes on."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence

from appliance.config import Home, load
from appliance.ledger import Ledger
from appliance.ledger.backups import is_due, standing
from appliance.ports import Clock
from appliance.settings import BackupSettings

log = logging.getLogger("appliance.line")

LOOK_SECONDS = 60.0
FIRST_SECONDS = 120.0
"""After the start of the process: the box has other things to do then."""


def backup_of(home: Home) -> Sequence[str]:
    """The command that backs a home up."""
    return (sys.executable, "-m", "appliance", "--home", str(home.root), "--json", "backup", "create", "--background")


def settings_of(home: Home) -> Callable[[], BackupSettings]:
    """Reads them anew each time: a key that was made since the start begins the schedule."""
    return lambda: load(home.settings_file).backup


class BackingUp:
    """Starts the process. `look` is called often, always by the thread whose end is the process's end."""

    def __init__(
        self, ledger: Ledger, argv: Sequence[str], settings: Callable[[], BackupSettings], clock: Clock
    ) -> None:
        self._ledger, self._argv, self._settings, self._clock = ledger, argv, settings, clock
        self._process: subprocess.Popen[bytes] | None = None
        self._not_before = clock.monotonic() + FIRST_SECONDS

    def look(self) -> None:
        """Begin a backup that is due; notice one that has ended. Raises ConfigError, Unavailable, OSError."""
        if self._process is not None:
            if self._process.poll() is not None:
                log.log(
                    logging.WARNING if self._process.returncode else logging.INFO,
                    "a backup by schedule has ended with status %d", self._process.returncode,
                )  # fmt: skip
                self._process = None
            return
        if self._clock.monotonic() < self._not_before:
            return
        self._not_before = self._clock.monotonic() + LOOK_SECONDS
        if why := is_due(self._clock.now(), self._settings(), standing(self._ledger)):
            log.info("backing up: %s", why)
            self._process = subprocess.Popen(
                self._argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True
            )

    def end(self) -> None:
        """End the process at once, if there is one."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process = None
