"""The tables of the learning store, documented in the help page `learning.md`.

No primary keys and no indexes: the sequence number of the ledger is the key, and taking over a batch checks that it
follows the last one. Times are UTC.
"""

from __future__ import annotations

from collections.abc import Mapping

TABLES: Mapping[str, Mapping[str, str]] = {
    "events": {
        "seq": "BIGINT", "happened": "TIMESTAMP", "kind": "VARCHAR", "subject": "VARCHAR", "payload": "JSON",
    },
    "items": {
        "item": "VARCHAR", "signal": "VARCHAR", "repo": "VARCHAR", "title": "VARCHAR", "source": "VARCHAR",
        "opened": "TIMESTAMP", "state": "VARCHAR", "stage": "VARCHAR", "changed": "TIMESTAMP", "seq": "BIGINT",
        "wall_seconds": "DOUBLE", "strategy": "VARCHAR", "model": "VARCHAR", "without_a_person": "BOOLEAN",
        "seconds_from_signal": "DOUBLE", "signalled": "TIMESTAMP", "maker": "VARCHAR", "by_hand": "BOOLEAN",
        "shipped": "TIMESTAMP", "alone": "BOOLEAN", "taken_back": "BOOLEAN",
    },
    "stage_runs": {
        "seq": "BIGINT", "happened": "TIMESTAMP", "item": "VARCHAR", "stage": "VARCHAR", "before": "VARCHAR",
        "after": "VARCHAR", "decided_by": "VARCHAR", "wall_seconds": "DOUBLE", "reason": "VARCHAR",
    },
    "attempts": {
        "seq": "BIGINT", "happened": "TIMESTAMP", "item": "VARCHAR", "n": "INTEGER", "strategy": "VARCHAR",
        "model": "VARCHAR", "outcome": "VARCHAR", "tried": "BIGINT", "plausible": "INTEGER",
        "wall_seconds": "DOUBLE", "rule": "VARCHAR", "prompt_tokens": "BIGINT", "completion_tokens": "BIGINT",
        "model_seconds": "DOUBLE",
    },
    "verdicts": {
        "seq": "BIGINT", "happened": "TIMESTAMP", "item": "VARCHAR", "gate": "VARCHAR", "verdict": "VARCHAR",
        "decided_by": "VARCHAR", "reason": "VARCHAR",
    },
    "objections": {
        "seq": "BIGINT", "happened": "TIMESTAMP", "item": "VARCHAR", "gate": "VARCHAR", "repo": "VARCHAR",
        "maker": "VARCHAR", "fate": "VARCHAR",
    },
    "signals": {
        "seq": "BIGINT", "happened": "TIMESTAMP", "signal": "VARCHAR", "repo": "VARCHAR", "title": "VARCHAR",
        "source": "VARCHAR", "kind": "VARCHAR", "author": "VARCHAR", "key": "VARCHAR",
    },
    "candidates": {
        "seq": "BIGINT", "happened": "TIMESTAMP", "item": "VARCHAR", "n": "INTEGER", "rank": "INTEGER",
        "origin": "VARCHAR", "weight": "DOUBLE", "cluster": "INTEGER", "files": "VARCHAR[]", "digest": "VARCHAR",
        "chosen": "BOOLEAN",
    },
    "findings": {
        "seq": "BIGINT", "happened": "TIMESTAMP", "item": "VARCHAR", "stage": "VARCHAR", "tool": "VARCHAR",
        "rule": "VARCHAR", "severity": "VARCHAR", "path": "VARCHAR", "line": "BIGINT", "message": "VARCHAR",
    },
    "reviews": {
        "seq": "BIGINT", "happened": "TIMESTAMP", "item": "VARCHAR", "person": "VARCHAR", "verb": "VARCHAR",
        "words": "VARCHAR",
    },
    "releases": {
        "seq": "BIGINT", "happened": "TIMESTAMP", "item": "VARCHAR", "commit": "VARCHAR", "decided_by": "VARCHAR",
        "reverted": "TIMESTAMP", "revert": "VARCHAR",
    },
    "incidents": {
        "seq": "BIGINT", "happened": "TIMESTAMP", "signal": "VARCHAR", "item": "VARCHAR", "repo": "VARCHAR",
        "title": "VARCHAR", "source": "VARCHAR",
    },
    "lessons": {
        "seq": "BIGINT", "happened": "TIMESTAMP", "lesson": "VARCHAR", "before": "VARCHAR", "state": "VARCHAR",
        "decided_by": "VARCHAR", "why": "VARCHAR", "words": "VARCHAR", "source": "VARCHAR", "home": "VARCHAR",
        "support": "INTEGER", "repo": "VARCHAR", "path": "VARCHAR", "language": "VARCHAR", "stage": "VARCHAR",
        "role": "VARCHAR",
    },
    "lesson_uses": {
        "seq": "BIGINT", "happened": "TIMESTAMP", "lesson": "VARCHAR", "item": "VARCHAR", "round": "INTEGER",
        "stage": "VARCHAR", "role": "VARCHAR", "rank": "INTEGER", "score": "DOUBLE", "how": "VARCHAR",
    },
    "model_calls": {
        "call": "VARCHAR", "happened": "TIMESTAMP", "endpoint": "VARCHAR", "task": "VARCHAR", "stage": "VARCHAR",
        "repo": "VARCHAR", "item": "VARCHAR", "episode": "VARCHAR", "key": "VARCHAR", "person": "VARCHAR",
        "team": "VARCHAR", "model": "VARCHAR", "digest": "VARCHAR", "engine": "VARCHAR", "quantisation": "VARCHAR",
        "prompt_digest": "VARCHAR", "rule": "VARCHAR", "attempts": "INTEGER", "stream": "BOOLEAN",
        "priority": "VARCHAR", "prompt_tokens": "BIGINT", "completion_tokens": "BIGINT", "cached_tokens": "BIGINT",
        "seconds": "DOUBLE", "waited_seconds": "DOUBLE", "first_token_seconds": "DOUBLE", "status": "INTEGER",
        "error": "VARCHAR",
    },
    "decisions": {
        "call": "VARCHAR", "seq": "BIGINT", "happened": "TIMESTAMP", "source": "VARCHAR", "item": "VARCHAR",
        "episode": "VARCHAR", "repo": "VARCHAR", "task": "VARCHAR", "stage": "VARCHAR", "language": "VARCHAR",
        "asked_model": "VARCHAR", "prompt_tokens": "BIGINT", "severity": "INTEGER", "attempt": "INTEGER",
        "rule": "VARCHAR", "candidates": "VARCHAR[]", "chosen": "VARCHAR", "suggested": "VARCHAR",
        "policy_version": "BIGINT", "propensity": "DOUBLE", "explored": "BOOLEAN", "objective": "JSON",
        "prompt_digest": "VARCHAR", "features": "JSON", "meaning": "JSON",
    },
    "call_days": {
        "day": "DATE", "repo": "VARCHAR", "task": "VARCHAR", "stage": "VARCHAR", "rule": "VARCHAR", "model": "VARCHAR",
        "calls": "BIGINT", "failed": "BIGINT", "prompt_tokens": "BIGINT", "completion_tokens": "BIGINT",
        "milliseconds": "BIGINT", "waited_milliseconds": "BIGINT",
    },
    "call_speeds": {
        "day": "DATE", "task": "VARCHAR", "model": "VARCHAR", "step": "INTEGER", "calls": "BIGINT",
    },
    "stage_days": {
        "day": "DATE", "repo": "VARCHAR", "stage": "VARCHAR", "step": "INTEGER", "runs": "BIGINT",
        "milliseconds": "BIGINT",
    },
    "attempt_days": {
        "day": "DATE", "repo": "VARCHAR", "rule": "VARCHAR", "model": "VARCHAR", "attempts": "BIGINT",
        "prompt_tokens": "BIGINT", "completion_tokens": "BIGINT", "model_milliseconds": "BIGINT",
        "milliseconds": "BIGINT",
    },
    "spool_files": {
        "file": "VARCHAR", "position": "BIGINT", "lines": "BIGINT", "damaged": "BIGINT", "note": "VARCHAR",
    },
    "watermark": {"seq": "BIGINT", "hash": "VARCHAR", "forgotten": "BIGINT"},
}  # fmt: skip
"""table → column → type. `watermark` has one row: the newest event taken over, and its hash in the ledger;
`spool_files` how far each file of the gateway's spool was read."""

DERIVED = tuple(name for name in TABLES if name not in ("watermark", "spool_files"))


def definition(table: str) -> str:
    """The statement that makes a table."""
    columns = ", ".join(f'"{name}" {kind}' for name, kind in TABLES[table].items())
    return f"CREATE TABLE {table} ({columns})"
