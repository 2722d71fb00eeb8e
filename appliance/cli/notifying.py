"""Tells systemd how a process of the box is: ready when its own door answers, alive as long as it does.

A small process beside the service asks what `appliance up` asks (see `processes`), because a thread in it would answer
for a service that hangs, and because web servers fork and must have no threads then. It dies with the service. What it
says goes to NOTIFY_SOCKET (sd_notify(3)) and, for `appliance status` and the console, to `run/units/NAME.json`.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

from appliance.cli.processes import specs
from appliance.config import Home, take_notify_socket
from appliance.ledger.lease import started_at
from appliance.presence import unit_file
from appliance.settings import Settings
from appliance.work import utcnow
from inference.child import rotate

PR_SET_PDEATHSIG = 1
STARTING_SECONDS = 0.1
"""Between two looks while it starts."""
LOOK_SECONDS = 10.0
"""Between two looks later, unless the watchdog wants to hear more often."""


def notify(address: str, *lines: str) -> None:
    """Send lines (`READY=1`, `WATCHDOG=1`, `STATUS=…`) to systemd's socket; one beginning with @ has no file.

    Nobody listening is no reason to stop serving, so errors are passed over.
    """
    name = "\0" + address[1:] if address.startswith("@") else address
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
        out.sendto("\n".join(lines).encode(), name)


def begin(home: Home, settings: Settings, name: str) -> bool:
    """Under systemd: log to the process's own file, and have it watched from beside. Whether that was so.

    Call it before anything is loaded or any thread started. What the service starts later hears nothing of systemd.
    """
    address, watchdog = take_notify_socket()
    if not address:
        return False
    log = home.logs / f"{name}.log"
    _write_to(log)
    probe = next(spec.probe for spec in specs(home, settings, (name,)))
    service = os.getpid()
    gc.collect()
    gc.freeze()  # what both have stays shared: looking for garbage would write to every page of it
    if os.fork() == 0:
        status = 1
        try:
            _with(service)
            Watch(home, name, probe, address, log, service).run(min(LOOK_SECONDS, watchdog / 3 or LOOK_SECONDS))
        except OSError as error:
            print(f"nobody watches the {name} any longer: {error}", file=sys.stderr, flush=True)
        finally:
            os._exit(status)
    return True


class Watch:
    """Looks after one service, from beside it."""

    def __init__(self, home: Home, name: str, probe: Callable[[], bool], address: str, log: Path, service: int) -> None:
        self.file = unit_file(home, name)
        self.name, self.probe, self.address, self.log, self.service = name, probe, address, log, service
        self.since = utcnow().isoformat()
        self.restarts = _restarts(self.file)

    def run(self, seconds: float) -> None:
        """Look for ever, every `seconds` once the service was ready."""
        self.tell("starting", "")
        while not self.answers():
            time.sleep(STARTING_SECONDS)
        self.since = utcnow().isoformat()
        self.tell("ready", "")
        notify(self.address, "READY=1", "STATUS=ready")
        answered = True
        while True:
            time.sleep(seconds)
            rotate(self.log)
            before, answered = answered, self.answers()
            if answered:
                notify(self.address, "WATCHDOG=1", "STATUS=ready")
            if before != answered:
                self.tell(*(("ready", "") if answered else ("failed", "answers no longer")))
                notify(self.address, f"STATUS={'ready' if answered else 'answers no longer'}")

    def answers(self) -> bool:
        """Whether the service does what it is for; a probe that fails is a no."""
        try:
            return self.probe()
        except Exception:  # noqa: BLE001 - a process boundary: whatever goes wrong means that it was not seen to answer
            return False

    def tell(self, state: str, reason: str) -> None:
        """Say it to the rest of the box; a full disk must not end the watch."""
        row = {"name": self.name, "state": state, "reason": reason, "pid": self.service, "since": self.since,
               "restarts": self.restarts, "next_try": None, "started": started_at(self.service)}  # fmt: skip
        with contextlib.suppress(OSError):
            self.file.parent.mkdir(exist_ok=True)
            half = self.file.with_suffix(".tmp")
            half.write_text(json.dumps(row), "utf-8")
            half.replace(self.file)


def ended(home: Home, name: str) -> None:
    """A service that ends as it should takes its word back; one that was killed leaves it, and so is found."""
    unit_file(home, name).unlink(missing_ok=True)


def _restarts(file: Path) -> int:
    """How often the service was started anew: its last word is still there when it was killed."""
    try:
        return int(json.loads(file.read_text("utf-8"))["restarts"]) + 1
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def _write_to(log: Path) -> None:
    """Opened by the box's user: systemd would open it as root, wherever a link in its place points to."""
    log.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    for number in (1, 2):
        os.dup2(handle, number)
    os.close(handle)


def _with(service: int) -> None:
    """Die with the service, and leave its signals to it."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != service:
        os._exit(0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
