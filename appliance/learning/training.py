"""Training of the routing policy by schedule: `appliance learn train` in a process of its own, now and then.

Its own process, because it reads routing rules and models, of which this one knows nothing; and because one that hangs
or is killed takes nothing along: a policy is published whole or not at all.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import IO

from appliance.config import Home

log = logging.getLogger("learning")

FIRST_SECONDS = 600.0
"""After the start of the process: the box has other things to do then."""
LONGEST_SECONDS = 600.0


class Training:
    """Looked at between other work; never waits."""

    def __init__(
        self, home: Home, hours: float, command: Sequence[str] = (), monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        own = (sys.executable, "-m", "appliance", "--home", str(home.root), "--json", "learn", "train")
        self._command = tuple(command) or own
        self._pause = hours * 3600
        self._monotonic = monotonic
        self._next = monotonic() + min(FIRST_SECONDS, self._pause)
        self._running: subprocess.Popen[bytes] | None = None
        self._said: IO[bytes] | None = None
        self._began = 0.0

    def look(self) -> None:
        """Start a training that is due; tell of one that has ended; end one that takes too long."""
        if self._running is not None:
            self._attend(self._running)
        elif self._pause and self._monotonic() >= self._next:
            self._began = self._monotonic()
            self._next = self._began + self._pause
            self._said = tempfile.TemporaryFile()  # noqa: SIM115 - a pipe that nobody reads would fill up
            self._running = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=self._said, stderr=subprocess.STDOUT
            )

    def end(self) -> None:
        """End one that is under way."""
        if self._running is not None:
            self._running.kill()
            self._running.wait()
            self._closed()

    def _attend(self, running: subprocess.Popen[bytes]) -> None:
        if running.poll() is None:
            if self._monotonic() - self._began > LONGEST_SECONDS:
                log.warning("the routing policy is not trained: it took more than %.0f s", LONGEST_SECONDS)
                self.end()
            return
        said = self._closed()
        if running.returncode:
            log.warning("the routing policy is not trained: %s", said.strip()[-500:])
            return
        try:
            told = json.loads(said)
            log.info("trained the routing policy: published %s, promoted %s", told["published"], told["promoted"])
        except (ValueError, KeyError, TypeError):
            log.warning("the training of the routing policy said what cannot be read: %s", said.strip()[-500:])

    def _closed(self) -> str:
        """What it said; it is over."""
        self._running, said = None, self._said
        self._said = None
        if said is None:
            return ""
        with said:
            said.seek(0)
            return said.read().decode("utf-8", "replace")
