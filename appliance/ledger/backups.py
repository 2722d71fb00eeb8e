"""What the ledger tells of backups: made, failed, verified; and from these, whether one is due."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from appliance.events import Event, Fact
from appliance.settings import BackupSettings
from appliance.work import Noun

if TYPE_CHECKING:
    from appliance.ledger import Ledger

SUBJECT = "backup"
AGAIN = timedelta(hours=1)
"""After a backup by schedule has failed."""


class Standing(Noun):
    """How backups stand, as the ledger tells."""

    made: datetime | None = None
    name: str = ""
    size: int = 0
    """Bytes it holds."""
    failed: datetime | None = None
    why: str = ""
    """Why the last try failed; "" when one was made since."""
    hint: str = ""
    verified: datetime | None = None
    verified_name: str = ""
    verified_content: str = ""


def standing(ledger: Ledger) -> Standing:
    """Read it from the events."""
    found = Standing()
    for event in ledger.history(SUBJECT):
        at, payload = datetime.fromisoformat(event.at), event.payload
        match event.kind:
            case Fact.BACKUP_MADE:
                found = found.with_(made=at, name=payload["name"], size=payload["bytes"], failed=None, why="", hint="")
            case Fact.BACKUP_FAILED:
                found = found.with_(failed=at, why=payload["why"], hint=payload["hint"])
            case Fact.BACKUP_VERIFIED:
                found = found.with_(verified=at, verified_name=payload["name"], verified_content=payload["content"])
    return found


def is_due(now: datetime, settings: BackupSettings, seen: Standing) -> str:
    """Why a backup should be made now; "" when none should. Pure."""
    if not settings.recipients or not settings.every_hours:
        return ""
    if seen.failed and now - seen.failed < AGAIN:
        return ""
    if seen.made is None:
        return "there is none yet"
    age = now - seen.made
    late = age >= timedelta(hours=settings.every_hours)
    return f"the newest is {age.total_seconds() / 3600:.1f} h old" if late else ""


def warning(now: datetime, settings: BackupSettings, seen: Standing) -> tuple[str, str]:
    """What people should know, and what to do; two empty texts when all is well. Pure."""
    if not settings.warn_days:
        return "", ""
    if not settings.recipients and seen.made is None:
        fix = "`appliance backup keys FILE`, with FILE on a medium that you take away"
        return "no backups are made: there is nobody to seal them for", fix
    if seen.made is None:
        why = f": {seen.why}" if seen.why else ""
        return f"no backup was made yet{why}", seen.hint or "`appliance backup create`"
    age = now - seen.made
    if age > timedelta(days=settings.warn_days):
        why = f"; the last try failed: {seen.why}" if seen.why else ""
        return f"the newest backup is {age.total_seconds() / 86_400:.1f} days old{why}", (
            seen.hint or "`appliance backup create`, and see that the line runs")  # fmt: skip
    return "", ""


def failed(ledger: Ledger, why: str, hint: str) -> None:
    """Write down that one could not be made."""
    ledger.append(Event(kind=Fact.BACKUP_FAILED, subject=SUBJECT, payload={"why": why, "hint": hint}))
