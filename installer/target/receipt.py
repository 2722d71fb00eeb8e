"""What was done to this machine, signed with a key that never leaves it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from installer.target import places as records
from installer.target.journal import Change
from installer.target.places import Places
from installer.trust import signature


def write(places: Places, change: Change, manifest: str) -> Path:
    """Write the receipt of a finished change and its signature beside it; returns the receipt.

    Args:
        manifest: the SHA-256 of the medium's manifest.
    """
    private, public = places.state / "box.key", places.state / "box.pem"
    if not private.exists():
        signature.make_key(private, public)
    said: dict[str, Any] = {
        "release": change.release,
        "previous": change.previous,
        "manifest_sha256": manifest,
        "started": _utc(change.started),
        "finished": _utc(time.time()),
        "seconds": change.seconds,
        "health": records.read(places.state / "health.json") or {},
        "box_key_sha256": signature.fingerprint(public),
    }
    file = places.state / "receipts" / f"{change.release}-{int(time.time())}.json"
    records.write(file, said)
    file.with_suffix(".sig").write_bytes(signature.sign(file, private))
    return file


def _utc(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
