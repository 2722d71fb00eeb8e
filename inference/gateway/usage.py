"""One line for every call in `spool/usage-DATE.jsonl`: who, what, how long, how many tokens. Never what was said."""

from __future__ import annotations

import logging
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

log = logging.getLogger("inference.gateway")


class UsageLog:
    """Appends lines; one write each, so that lines of several processes never mix."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._day = ""
        self._handle = -1

    def append(self, line: dict[str, Any]) -> bool:
        """Write one line; False when the disk did not take it. A call never fails because of its usage line."""
        now = datetime.now(UTC)
        try:
            self._turn_over(now.strftime("%Y%m%d"))
            raw = orjson.dumps({"at": now.isoformat(timespec="milliseconds"), **line}) + b"\n"
            return os.write(self._handle, raw) == len(raw)
        except OSError as error:
            log.error("cannot write the usage of a call: %s", error)
            self._day = ""
            return False

    def _turn_over(self, day: str) -> None:
        if day == self._day:
            return
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1
        self._folder.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._handle = os.open(self._folder / f"usage-{day}.jsonl", flags, 0o600)
        self._day = day
