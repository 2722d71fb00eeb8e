"""The routing rules' file and its history: every version that was saved lies in the ledger, with who, when and why.

The file stays a file that people may edit. One that was edited by hand since is seen by its digest, and its text is
kept with the next version that is saved over it, so that none is lost.
"""

from __future__ import annotations

import hashlib
from datetime import datetime

from appliance.config import Home
from appliance.errors import Conflict, NotFound, UsageError
from appliance.events import Event, Fact
from appliance.ledger.store import Ledger
from appliance.private import replace_private
from appliance.work import Noun

SUBJECT = "routing rules"
MOST_BYTES = 256 * 1024
"""Of a file of rules; the largest measured has 300 rules and 60 kB."""


class Version(Noun):
    """The rules as they were saved, and the text they took the place of, if that was edited by hand."""

    number: int
    at: datetime
    by: str
    why: str
    text: str
    by_hand: str = ""


class Routes:
    """The rules of one home."""

    def __init__(self, home: Home, ledger: Ledger) -> None:
        self._file = home.routes_file
        self._ledger = ledger

    def text(self) -> str:
        """The file as it is; "" when there is none, and the box's default rules decide."""
        try:
            return self._file.read_text(encoding="utf-8")
        except FileNotFoundError:
            return ""

    def versions(self) -> list[Version]:
        """Every version that was saved, the newest first."""
        told = [one for one in self._ledger.history(SUBJECT) if one.kind == Fact.RULES_SAVED]
        found = [
            Version(number=number, at=datetime.fromisoformat(one.at), by=str(one.payload["by"]),
                    why=str(one.payload["why"]), text=str(one.payload["text"]),
                    by_hand=str(one.payload.get("by_hand", "")))
            for number, one in enumerate(told, start=1)
        ]  # fmt: skip
        return found[::-1]

    def version(self, number: int) -> Version:
        """Raises NotFound."""
        known = {one.number: one for one in self.versions()}
        if number not in known:
            raise NotFound(f"there is no version {number} of the rules", "`appliance route versions` lists them")
        return known[number]

    def save(self, text: str, seen: str, by: str, why: str) -> int:
        """Put a text in force that was checked; `seen` is the digest of the text it was made from. Returns its number.

        The event comes first: a kill before the file is renamed leaves the old rules in force, and the new ones in the
        history. Raises Conflict when the file is another one by now, UsageError for what cannot be a change.
        """
        if not why.strip():
            raise UsageError("a change of the rules needs a reason", "say why, for those who read it later")
        if len(text.encode()) > MOST_BYTES:
            raise UsageError(f"the rules are longer than {MOST_BYTES} bytes", "fewer rules, with wider conditions")
        with self._ledger.database.writing() as connection:  # nobody else saves meanwhile
            now = self.text()
            if digest(now) != seen:
                raise Conflict("the rules were changed since you began", "look at them as they are now, and save again")
            if text == now:
                raise UsageError("these are the rules in force", "nothing was changed")
            known = self.versions()
            by_hand = now if now and (not known or known[0].text != now) else ""
            payload = {"text": text, "by": by, "why": why.strip(), "before": seen, "digest": digest(text)}
            payload |= {"by_hand": by_hand} if by_hand else {}
            self._ledger.append_in(connection, Event(kind=Fact.RULES_SAVED, subject=SUBJECT, payload=payload))
        replace_private(self._file, text.encode())
        return len(known) + 1


def digest(text: str) -> str:
    """What a text is told from others by."""
    return hashlib.sha256(text.encode()).hexdigest()
