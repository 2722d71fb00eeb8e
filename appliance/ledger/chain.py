"""The hash chain over events: each row carries the SHA-256 of its content and of the row before."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from appliance.work import Noun

GENESIS = "0" * 64
"""What the first row names as the one before."""


class Recorded(Noun):
    """An event as the ledger keeps it."""

    seq: int
    at: str
    kind: str
    subject: str
    payload: Mapping[str, Any]
    prev: str
    hash: str


def canonical(payload: Mapping[str, Any]) -> str:
    """One spelling per value: sorted keys, no spaces, UTF-8 as it is."""
    return json.dumps(payload, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)


def digest(seq: int, at: str, kind: str, subject: str, payload: str, prev: str) -> str:
    """SHA-256 (hex) over the length-prefixed fields, so that no two different rows have one spelling."""
    sha = hashlib.sha256()
    for field in (str(seq), at, kind, subject, payload, prev):
        raw = field.encode()
        sha.update(f"{len(raw)}:".encode() + raw)
    return sha.hexdigest()


def first_break(rows: Iterable[tuple[int, str, str, str, str, str, str]]) -> tuple[int, str, str]:
    """Walk rows (seq, at, kind, subject, payload text, prev, hash) in order.

    Returns (last good seq, its hash, "" or what is wrong with the row after it).
    """
    seq, tip = 0, GENESIS
    for row in rows:
        if row[0] != seq + 1:
            return seq, tip, f"event {seq + 1} is missing"
        if row[5] != tip:
            return seq, tip, f"event {row[0]} does not follow the one before it"
        if digest(*row[:6]) != row[6]:
            return seq, tip, f"event {row[0]} was altered"
        seq, tip = row[0], row[6]
    return seq, tip, ""
