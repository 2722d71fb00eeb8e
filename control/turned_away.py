"""How many webhooks were turned away, for which repository and why: counted, never kept.

Who is turned away is a stranger. So nothing that a stranger sent is remembered, neither content nor names, and what is
remembered cannot grow: one count for each repository that there is and each reason, since the console started. The
counts are written to `run/turned-away.json` as well, for those who are not in this process.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

FILE = "turned-away.json"
"""In the home's `run`."""

UNKNOWN = "(unknown)"
"""Stands for every name that is no repository's; no repository can be called so."""


@dataclass(frozen=True)
class Count:
    """Webhooks turned away for one repository and one reason."""

    repo: str
    reason: str
    count: int
    last: datetime
    """When the latest came."""


class TurnedAway:
    """The counts of this process. Safe for threads."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._counts: dict[tuple[str, str], Count] = {}
        self._lock = threading.Lock()
        self._unwritten = True
        self.since = now()

    def note(self, repo: str, reason: str) -> None:
        """Count one. `repo` is a repository's name or UNKNOWN."""
        now = self._now()
        with self._lock:
            before = self._counts.get((repo, reason))
            self._counts[repo, reason] = Count(repo, reason, before.count + 1 if before else 1, now)
            self._unwritten = True

    def counts(self, repo: str = "") -> list[Count]:
        """All counts, or those of one repository; the latest first."""
        with self._lock:
            found = list(self._counts.values())
        return sorted((one for one in found if repo in ("", one.repo)), key=lambda one: one.last, reverse=True)

    def as_data(self, repo: str = "") -> dict[str, Any]:
        """For programs: all counts, or those of one repository."""
        counts = [
            {"repo": one.repo, "reason": one.reason, "count": one.count, "last": one.last.isoformat()}
            for one in self.counts(repo)
        ]
        return {"since": self.since.isoformat(), "counts": counts}

    def write(self, file: Path) -> None:
        """Write all counts, if there are new ones. A reader sees the old or the new ones. Raises OSError."""
        if not self._unwritten:
            return
        self._unwritten = False
        draft = file.with_name(f".{file.name}.draft")
        draft.write_text(json.dumps(self.as_data()), encoding="utf-8")
        draft.replace(file)
