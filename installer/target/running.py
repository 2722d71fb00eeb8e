"""Starts and stops a box, and runs its commands: all as the user whom the home belongs to.

Two ways behind one interface. Where systemd runs the machine, root installs and the box has a user of its own, the box
is units (see `systemd`). Elsewhere it is `appliance up` in a session of its own, known by its start time.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

from installer.errors import InstallError
from installer.target import systemd, user
from installer.target.places import Places
from installer.terminal import Terminal

READY_SECONDS = 180.0
STOP_SECONDS = 60.0


def pid(places: Places) -> int | None:
    """A process id of the box, or None when none runs in the home. A number given anew does not count."""
    alone = _supervisor(places)
    return systemd.pid() if alone is None and systemd.usable(places) else alone


def _supervisor(places: Places) -> int | None:
    try:
        told = json.loads((places.home / "run" / "up.json").read_text("utf-8"))
        number, started = int(told["pid"]), told["started"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return number if _started(number) == started else None


def start(places: Places, release: Path, terminal: Terminal | None = None, only: str = "") -> None:
    """Start the release's box and wait until all of it is ready. Units start the release that `current` points to.

    What `up` prints is not kept: among it is the console's token.

    Raises:
        InstallError: it ended, or is not ready in time.
    """
    if not only and systemd.usable(places, release):
        _stop_supervisor(places)
        systemd.start(places, terminal)
        return
    program = [str(release / "venv" / "bin" / "appliance"), "--home", str(places.home), "up"]
    if pid(places) is None:
        with tempfile.TemporaryFile() as said:  # without a name: nothing stays of it
            child = subprocess.Popen(
                [*program, *(["--only", only] if only else [])], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=said, start_new_session=True, cwd=places.prefix, **_as_owner(places),
            )  # fmt: skip
            _wait(places, child, said, terminal)
    elif not ready(places):
        raise InstallError("a box runs in the home that is not ready", "stop it, then run this again")


def _wait(places: Places, child: subprocess.Popen[bytes], said: BinaryIO, terminal: Terminal | None) -> None:
    started = time.monotonic()
    while not ready(places):
        seconds = time.monotonic() - started
        if child.poll() is not None:
            said.seek(0)
            lines = [line for line in said.read().decode("utf-8", "replace").splitlines() if "token" not in line]
            raise InstallError("the box ended: " + "; ".join(lines[-3:]), f"see {places.home / 'logs'}")
        waited = [row for row in _rows(places) if row.get("state") != "ready"]
        lost = [row for row in waited if int(row.get("restarts", 0)) >= systemd.RESTARTS]
        if lost or seconds > READY_SECONDS:
            which = (lost or waited or [{"name": "the box"}])[0]
            why = f": {which['reason']}" if which.get("reason") else ""
            log = places.home / "logs" / (f"{which['name']}.log" if waited else "")
            raise InstallError(f"{which['name']} is not ready after {seconds:.0f} s{why}", f"see {log}")
        if terminal is not None:
            terminal.working("start", seconds, None, "waiting until every process is ready")
        time.sleep(0.1)


def ready(places: Places) -> bool:
    """Whether every process of the box says that it is ready. Reads a file only, so it may be asked often."""
    if _supervisor(places) is None:
        return systemd.usable(places) and systemd.pid() is not None and systemd.ready()
    rows = _rows(places)
    return bool(rows) and all(row.get("state") == "ready" for row in rows)


def _rows(places: Places) -> list[dict[str, Any]]:
    """How each process is, as the supervisor tells it; none where it told nothing yet."""
    try:
        return list(json.loads((places.home / "run" / "up.json").read_text("utf-8"))["processes"])
    except (OSError, ValueError, KeyError, TypeError):
        return []


def stop(places: Places) -> None:
    """Stop the box; nothing when none runs. Raises InstallError when it does not end."""
    if systemd.usable(places) and systemd.installed():
        systemd.stop()
    _stop_supervisor(places)


def _stop_supervisor(places: Places) -> None:
    number = _supervisor(places)
    if number is None:
        return
    handle = os.pidfd_open(number)
    try:
        if _supervisor(places) != number:
            return  # it ended, and its number may be another's by now
        signal.pidfd_send_signal(handle, signal.SIGTERM)
        gone, _, _ = select.select([handle], [], [], STOP_SECONDS)
    finally:
        os.close(handle)
    if not gone:
        raise InstallError(f"the box (process {number}) does not stop", "look what it waits for, then run this again")


def command(
    places: Places, release: Path, words: Sequence[str], seconds: float = 120
) -> subprocess.CompletedProcess[str]:
    """Run a command of the release over the home, its output as text. Raises InstallError when it cannot run."""
    program = [str(release / "venv" / "bin" / "appliance"), "--home", str(places.home), "--json", *words]
    try:
        return subprocess.run(
            program, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL, timeout=seconds,
            cwd=places.prefix, **_as_owner(places),
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InstallError(f"`appliance {words[0]}` does not answer: {error}", f"see {places.home / 'logs'}") from error


def environment() -> dict[str, str]:
    """What a box needs of the caller's environment, and nothing that would change its settings or its Python."""
    kept = {"PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "USER", "LOGNAME", "SSL_CERT_FILE"}
    return {name: value for name, value in os.environ.items() if name in kept}


def _as_owner(places: Places) -> dict[str, Any]:
    """Who runs it, and in which surroundings."""
    who = user.owner(places.home)
    if who is None:
        return {"env": environment()}
    own = {"HOME": who.pw_dir, "USER": who.pw_name, "LOGNAME": who.pw_name}
    env = {name: value for name, value in environment().items() if name != "TMPDIR"} | own
    return {"env": env, "user": who.pw_uid, "group": who.pw_gid, "extra_groups": [], "umask": 0o077}


def _started(number: int) -> int | None:
    """Start time of a living process in clock ticks since boot (field 22 of proc(5)'s stat); None when it is gone."""
    try:
        told = Path(f"/proc/{number}/stat").read_bytes()
    except OSError:
        return None
    fields = told.rpartition(b")")[2].split()  # the name may hold anything, so count from its closing bracket
    return None if fields[0] in (b"Z", b"X") else int(fields[19])
