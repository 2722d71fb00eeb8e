"""What the box stands on: machine, settings, logs, and the doctor's findings; for the pages and the API."""

from __future__ import annotations

import os
import platform
import shutil
from datetime import UTC, datetime
from pathlib import Path

import psutil

from appliance import __version__
from appliance.config import documented, shown
from appliance.errors import FactoryError, NotFound, Unavailable
from appliance.ledger.database import sqlite_version
from appliance.secrets import redact
from appliance.settings import Settings
from appliance.work import Noun
from control.desk import Desk
from control.own_command import asked

DOCTOR_SECONDS = 120.0
"""It asks every repository's server, each for a few seconds at most."""
MOST_LINES = 5000
TAIL_BYTES = 1024 * 1024
"""Of a log's end that is looked at."""


class Setting(Noun):
    """One setting as it is in force."""

    name: str
    value: str
    default: str
    description: str

    @property
    def section(self) -> str:
        """The part of the file it stands in."""
        return self.name.partition(".")[0]

    @property
    def changed(self) -> bool:
        """Is it another than the default?"""
        return self.value != self.default


class Machine(Noun):
    """Figures of the machine and of the home on it, in bytes."""

    version: str
    python: str
    sqlite: str
    system: str
    home: str
    cores: int
    load: float
    memory_total: int
    memory_available: int
    disk_total: int
    disk_free: int
    ledger_bytes: int
    learning_bytes: int
    clock: datetime


class Finding(Noun):
    """What the doctor says of one thing: `verdict` is pass, warn or fail."""

    name: str
    verdict: str
    found: str
    fix: str = ""


class Log(Noun):
    """A log file: bytes, and when it was written to last."""

    name: str
    size: int
    changed: datetime


def machine(desk: Desk) -> Machine:
    """The machine as it is now."""
    home, memory = desk.home, psutil.virtual_memory()
    disk = shutil.disk_usage(home.root)
    return Machine(
        version=__version__, python=platform.python_version(), sqlite=sqlite_version(), system=platform.platform(),
        home=str(home.root), cores=len(os.sched_getaffinity(0)), load=round(os.getloadavg()[0], 2),
        memory_total=memory.total, memory_available=memory.available, disk_total=disk.total, disk_free=disk.free,
        ledger_bytes=_size(home.ledger), learning_bytes=_size(home.learning), clock=datetime.now(UTC),
    )  # fmt: skip


def settings_of(settings: Settings) -> list[Setting]:
    """Every setting in force, in the order of the file, with its default and its meaning."""
    now = shown(settings)
    return [Setting(value=now.get(row["name"], row["default"]), **row) for row in documented()]


def examined(desk: Desk) -> list[Finding]:
    """What `appliance doctor` finds. Raises Unavailable when it does not come to an end."""
    try:
        return [Finding.model_validate(row) for row in asked(desk, "doctor", seconds=DOCTOR_SECONDS)]
    except Unavailable:
        raise
    except FactoryError as error:
        return [Finding(name="doctor", verdict="fail", found=error.message, fix=error.hint)]


def logs(desk: Desk) -> list[Log]:
    """The log files, by name."""
    found = []
    for file in sorted(desk.home.logs.glob("*.log")):
        about = file.stat()
        found.append(Log(name=file.name, size=about.st_size, changed=datetime.fromtimestamp(about.st_mtime, UTC)))
    return found


def tail(desk: Desk, name: str, lines: int, words: str = "") -> list[str]:
    """The last lines of a log, those with some words alone if any are given; what looks like a secret is marked.
    Raises NotFound."""
    if name not in {log.name for log in logs(desk)}:
        raise NotFound(f"there is no log {name!r}", "see the page System")
    with (desk.home.logs / name).open("rb") as source:
        source.seek(max(0, source.seek(0, os.SEEK_END) - TAIL_BYTES))
        text = source.read().decode("utf-8", "replace")
    fitting = [line for line in text.splitlines() if words.lower() in line.lower()]
    return [redact(line)[0] for line in fitting[-min(lines, MOST_LINES) :]]


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0
