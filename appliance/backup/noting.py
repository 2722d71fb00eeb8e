"""Writes into the ledger what became of a backup."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from appliance.backup.creating import Made
from appliance.backup.verifying import Verified
from appliance.events import Event, Fact
from appliance.ledger import Ledger
from appliance.ledger.backups import SUBJECT


def noted(ledger: Ledger, done: Made | Verified, folder: Path) -> None:
    """Write down that one was made or verified."""
    if isinstance(done, Verified):
        payload: dict[str, Any] = {"name": done.name, "stored": str(done.stored), "content": str(done.content),
                                   "folder": str(folder)}  # fmt: skip
        ledger.append(Event(kind=Fact.BACKUP_VERIFIED, subject=SUBJECT, payload=payload))
        return
    one = done.manifest
    payload = {
        "name": one.name, "manifest_sha256": done.sha256, "folder": str(folder), "bytes": one.content_bytes,
        "written_bytes": one.written_bytes, "seconds": one.seconds, "lacking": list(done.lacking),
        "dropped": list(done.dropped),
    }  # fmt: skip
    ledger.append(Event(kind=Fact.BACKUP_MADE, subject=SUBJECT, payload=payload))
