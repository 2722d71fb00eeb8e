"""The proof that nothing was altered: the chain walked from its start, and an anchor kept outside the database.

The chain shows edits, deletions and reordering. It cannot show that its newest rows were cut off; for that the line
writes an anchor (number and hash of the newest event, with an HMAC by the box's audit key) beside the ledger.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from pathlib import Path

from appliance.errors import VerificationFailed
from appliance.ledger.chain import first_break
from appliance.ledger.store import Ledger
from appliance.work import Noun


class Verification(Noun):
    """What `audit verify` found."""

    events: int
    tip: str
    anchored: int
    ok: bool
    problem: str = ""


def write_anchor(file: Path, seq: int, tip: str, key: bytes) -> None:
    """Note the newest event, atomically."""
    content = json.dumps({"seq": seq, "hash": tip, "mac": _mac(seq, tip, key)})
    temporary = file.with_suffix(f".{os.getpid()}")
    temporary.write_text(content, encoding="ascii")
    temporary.replace(file)


def read_anchor(file: Path, key: bytes) -> tuple[int, str]:
    """The anchored event; (0, "") before the first. Raises VerificationFailed when the anchor was altered."""
    if not file.exists():
        return 0, ""
    try:
        kept = json.loads(file.read_text(encoding="ascii"))
        seq, tip, mac = int(kept["seq"]), str(kept["hash"]), str(kept["mac"])
    except (ValueError, KeyError, TypeError) as error:
        raise VerificationFailed(f"the audit anchor {file} cannot be read", "restore it from a backup") from error
    if not hmac.compare_digest(mac, _mac(seq, tip, key)):
        raise VerificationFailed(f"the audit anchor {file} was altered", "compare the ledger with a backup")
    return seq, tip


def verify(ledger: Ledger, anchor: Path, key: bytes) -> Verification:
    """Walk the whole chain and compare it with the anchor."""
    anchored, anchored_tip = read_anchor(anchor, key)
    events, tip, problem = first_break(ledger.raw_events())
    if not problem and anchored > events:
        problem = f"{anchored - events} newest events are missing: {anchored} were anchored, {events} are left"
    elif not problem and anchored and ledger.hash_of(anchored) != anchored_tip:
        problem = f"event {anchored} is not the one that was anchored"
    return Verification(events=events, tip=tip, anchored=anchored, ok=not problem, problem=problem)


def _mac(seq: int, tip: str, key: bytes) -> str:
    return hmac.new(key, f"{seq}:{tip}".encode(), hashlib.sha256).hexdigest()
