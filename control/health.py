"""What the processes and engines say of themselves, read from the status files in `run/`.

The files are written by `appliance up` (run/up.json) and by the engines process (run/engines.json), atomically. A file
that is missing, unreadable or whose processes are gone is said as such: no news is never shown as good news.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from appliance.config import Home
from appliance.work import Noun


class Part(Noun):
    """One process or engine."""

    name: str
    state: str
    reason: str = ""
    pid: int | None = None
    since: str = ""
    restarts: int = 0
    url: str = ""


class Health(Noun):
    """All parts, and in one word how the box is."""

    processes: tuple[Part, ...] = ()
    engines: tuple[Part, ...] = ()
    problem: str = ""

    @property
    def well(self) -> bool:
        """Does everything that should run, run?"""
        parts = (*self.processes, *self.engines)
        return not self.problem and bool(self.processes) and not any(part.state in BAD_STATES for part in parts)


BAD_STATES = frozenset({"failed", "lost", "backing_off"})


def read_health(home: Home) -> Health:
    """The newest word of all parts."""
    up, problem = _read(home.run / "up.json")
    engines, _ = _read(home.run / "engines.json")
    listed = up.get("processes") if isinstance(up, dict) else None
    if not problem and not isinstance(listed, list):
        problem = "run/up.json is not a list of processes"
    return Health(
        processes=tuple(_parts(listed if isinstance(listed, list) else [], "name")),
        engines=tuple(_parts(_engine_rows(engines), "model")),
        problem=problem,
    )


def _engine_rows(content: Any) -> Sequence[Any]:
    rows = content.get("engines", []) if isinstance(content, dict) else content
    return rows if isinstance(rows, list) else []


def _read(file: Path) -> tuple[Any, str]:
    try:
        return json.loads(file.read_text(encoding="utf-8")), ""
    except FileNotFoundError:
        return {}, f"run/{file.name} is missing: the box was not started with `appliance up`"
    except (OSError, ValueError) as error:
        return {}, f"run/{file.name} cannot be read: {error}"


def _parts(rows: Sequence[Any], name: str) -> list[Part]:
    return [_part(row, name) for row in rows if isinstance(row, Mapping)]


def _part(row: Mapping[str, Any], name: str) -> Part:
    pid = row.get("pid") if isinstance(row.get("pid"), int) else None
    state, reason = str(row.get("state", "unknown")), str(row.get("reason") or "")
    if pid and not is_alive(pid) and state not in ("stopped", "failed", "unloaded"):
        state, reason = "lost", reason or f"process {pid} is gone and nobody said so"
    restarts = row.get("restarts")
    return Part(
        name=str(row.get(name, "?")), state=state, reason=reason, pid=pid, since=str(row.get("since") or ""),
        restarts=restarts if isinstance(restarts, int) else 0, url=str(row.get("url") or ""),
    )  # fmt: skip


def is_alive(pid: int) -> bool:
    """Is there a process of this number?"""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
