"""What the processes and engines say of themselves, read from the status files in `run/`.

The files are written by `appliance up` (up.json) or each unit of systemd (units/), the engines (engines.json) and the
line (line.json), atomically. One that is missing or unreadable, or whose processes are gone, is said as such: no news
is never shown as good news.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from appliance.config import Home
from appliance.presence import units
from appliance.work import Noun

BAD_STATES = frozenset({"failed", "lost"})
UNDER_WAY = frozenset({"starting", "draining"})
ENDED_STATES = frozenset({"stopped", "failed"})
"""States in which nobody expects the process to be there."""


class Part(Noun):
    """One process or engine."""

    name: str
    state: str
    reason: str = ""
    pid: int | None = None
    since: str = ""
    restarts: int = 0
    url: str = ""


class Doing(Noun):
    """What a worker of the line is at."""

    item: str
    stage: str
    what: str


class Health(Noun):
    """All parts, and how the box is."""

    processes: tuple[Part, ...] = ()
    engines: tuple[Part, ...] = ()
    doing: tuple[Doing, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def in_trouble(self) -> tuple[Part, ...]:
        """Parts that should run and do not."""
        return tuple(part for part in (*self.processes, *self.engines) if part.state in BAD_STATES)

    @property
    def under_way(self) -> tuple[Part, ...]:
        """Parts that are not there yet, or are about to go."""
        return tuple(part for part in (*self.processes, *self.engines) if part.state in UNDER_WAY)

    @property
    def well(self) -> bool:
        """Does everything that should run, run?"""
        return bool(self.processes) and not (self.problems or self.in_trouble or self.under_way)

    def doing_for(self, item: str) -> str:
        """What is being done for an item just now; "" when nothing is."""
        return next((f"{one.stage}: {one.what}" for one in self.doing if one.item == item), "")


def read_health(home: Home) -> Health:
    """The newest word of all parts."""
    up, problem = _read(home.run / "up.json")
    if (rows := units(home)) and not (isinstance(up, Mapping) and is_alive(up.get("pid") or 2**30)):
        up, problem = {"processes": rows}, ""
    problems = [problem] if problem else []
    if not problem and not _rows(up, "processes"):
        problems.append("run/up.json names no process")
    line, _ = _read(home.run / "line.json")
    if isinstance(line, Mapping) and line.get("problem"):
        problems.append(str(line["problem"]))
    engines, _ = _read(home.run / "engines.json")
    return Health(
        processes=tuple(_part(row, "name") for row in _rows(up, "processes")),
        engines=tuple(_part(row, "model") for row in _rows(engines, "engines")),
        doing=tuple(_doing(row) for row in _rows(line, "doing")),
        problems=tuple(problems),
    )


def _read(file: Path) -> tuple[Any, str]:
    try:
        return json.loads(file.read_text(encoding="utf-8")), ""
    except FileNotFoundError:
        return {}, f"run/{file.name} is missing: the box was not started with `appliance up`."
    except (OSError, ValueError) as error:
        return {}, f"run/{file.name} cannot be read: {error}."


def _rows(content: Any, name: str) -> Sequence[Mapping[str, Any]]:
    """The rows of a status file, which is a list or has one under `name`; what is no row is passed over."""
    rows = content.get(name, []) if isinstance(content, Mapping) else content
    return [row for row in rows if isinstance(row, Mapping)] if isinstance(rows, list) else []


def _part(row: Mapping[str, Any], name: str) -> Part:
    pid = row.get("pid") if isinstance(row.get("pid"), int) else None
    state, reason = str(row.get("state", "unknown")), str(row.get("reason") or "")
    if pid and state not in ENDED_STATES and not is_alive(pid):
        state, reason = "lost", f"process {pid} is gone and nobody said so"
    restarts = row.get("restarts")
    return Part(
        name=str(row.get(name, "?")), state=state, reason=reason, pid=pid, since=str(row.get("since") or ""),
        restarts=restarts if isinstance(restarts, int) else 0, url=str(row.get("url") or ""),
    )  # fmt: skip


def _doing(row: Mapping[str, Any]) -> Doing:
    return Doing(item=str(row.get("item", "")), stage=str(row.get("stage", "")), what=str(row.get("doing", "")))


def is_alive(pid: int) -> bool:
    """Is there a process of this number?"""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
