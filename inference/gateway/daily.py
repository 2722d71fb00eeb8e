"""Files of lines in the spool, one for each day: what calls used, and what was said if somebody wants that kept."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson

log = logging.getLogger("inference.gateway")

DAY = "%Y%m%d"


def now() -> datetime:
    """The time that lines are written at."""
    return datetime.now(UTC)


class Daily:
    """Appends lines to `NAME-DATE.jsonl`; one write each, so that lines of several processes never mix."""

    def __init__(self, folder: Path, name: str, clock: Callable[[], datetime] = now) -> None:
        self._folder = folder
        self._name = name
        self._clock = clock
        self._date = (0, 0, 0)
        self._handle = -1

    def append(self, line: dict[str, Any]) -> bool:
        """Write one line; False when the disk did not take it. A call never fails because of its line."""
        at = self._clock()
        try:
            self._turn_over(at)
            raw = orjson.dumps({"at": at.isoformat(timespec="milliseconds"), **line}) + b"\n"
            return os.write(self._handle, raw) == len(raw)
        except OSError as error:
            log.error("cannot write the line of a call into %s: %s", self._name, error)
            self._date = (0, 0, 0)
            return False

    def forget(self, days: int) -> list[str]:
        """Remove files of days that ended more than `days` ago, all of them when it is 0; their names."""
        first = (self._clock() - timedelta(days=days)).strftime(DAY)
        gone = []
        for file in self._folder.glob(f"{self._name}-*.jsonl"):
            day = file.stem.removeprefix(f"{self._name}-")
            if re.fullmatch(r"[0-9]{8}", day) and (day < first or not days):
                file.unlink(missing_ok=True)
                gone.append(file.name)
        return sorted(gone)

    def _turn_over(self, at: datetime) -> None:
        date = (at.year, at.month, at.day)
        if date == self._date:
            return
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1
        self._folder.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._handle = os.open(self._folder / f"{self._name}-{at.strftime(DAY)}.jsonl", flags, 0o600)
        self._date = date
