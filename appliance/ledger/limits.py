"""The limits of the box, changed by a person: checked, kept in the settings file, told in the audit chain."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from appliance.config import Home, load
from appliance.errors import Conflict, UsageError
from appliance.events import Event, Fact
from appliance.ledger.store import Ledger
from appliance.limits import LimitChange, changes, value_of, values, wanted
from appliance.settings import Settings
from appliance.settings_file import edited, write

SUBJECT = "limits"
LONGEST_WHY = 600


class LimitsFile:
    """The limits of one home."""

    def __init__(self, home: Home, ledger: Ledger) -> None:
        self._file = home.settings_file
        self._ledger = ledger

    def digest(self) -> str:
        """What the file is told from its other versions by."""
        return hashlib.sha256(self._text().encode()).hexdigest()

    def compare(self, given: Mapping[str, Any]) -> tuple[Settings, list[LimitChange]]:
        """What would be in force, and what differs from now. Raises ConfigError, UsageError."""
        now = load(self._file)
        after = wanted(now, given)
        return after, changes(now, after)

    def save(self, given: Mapping[str, Any], by: str, why: str, seen: str = "") -> list[LimitChange]:
        """Put other limits in force; what changed. `seen` is the digest of the file that they were decided on, if any.

        The event comes first: a kill before the file is renamed leaves the old limits in force. Raises ConfigError for
        a file that is not valid, Conflict when it is another one by now, UsageError for what cannot be a change.
        """
        if not why.strip():
            raise UsageError("a change of the limits needs a reason", "say why, for those who read it later")
        with self._ledger.database.writing() as connection:  # nobody else saves meanwhile
            if seen and self.digest() != seen:
                raise Conflict("the settings were changed since you began", "look at them as they are now")
            after, found = self.compare(given)
            if not found:
                raise UsageError("these are the limits in force", "nothing was changed")
            text = edited(self._text(), values(after, tuple(one.name for one in found)))
            self._check(text, after, found)
            told = [one.model_dump() for one in found]
            payload = {"by": by, "why": why.strip()[:LONGEST_WHY], "changes": told}
            self._ledger.append_in(connection, Event(kind=Fact.LIMITS_CHANGED, subject=SUBJECT, payload=payload))
        write(self._file, text)
        return found

    def _text(self) -> str:
        return self._file.read_text(encoding="utf-8") if self._file.exists() else ""

    def _check(self, text: str, after: Settings, found: list[LimitChange]) -> None:
        """Is that what the file will be read as? The environment may say otherwise."""
        trial = self._file.with_name(f".{self._file.name}.trial")
        try:
            write(trial, text)
            read = load(trial)
        finally:
            trial.unlink(missing_ok=True)
        for one in found:
            if value_of(read, one.name) != value_of(after, one.name):
                variable = f"APPLIANCE_{one.name.replace('.', '_').upper()}"
                raise UsageError(f"{one.name} is set by {variable}", "take it out of the environment of the box first")
