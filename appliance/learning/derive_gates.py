"""What gates and what comes after them tell: verdicts, findings, releases and their reverts. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from appliance.learning.said import Row, mapping, mappings, text, whole
from appliance.work import Result, State

VERDICTS = frozenset(str(result) for result in Result)


def verdicts(stage: str, facts: Mapping[str, Any], reason: str) -> list[Row]:
    """The verdicts a stage's facts hold: one of the stage itself, or one for each gate inside it.

    >>> verdicts("test", {"verdict": "PASS"}, "all pass")
    [{'gate': 'test', 'verdict': 'PASS', 'reason': 'all pass'}]
    """
    if not facts:
        return []
    told = {stage: facts, **{gate: inner for gate, inner in facts.items() if mapping(inner)}}
    return [
        {"gate": gate, "verdict": str(inner["verdict"]), "reason": text(inner.get("reason")) or reason}
        for gate, inner in told.items()
        if text(inner.get("verdict")) in VERDICTS
    ]


def findings(stage: str, facts: Mapping[str, Any]) -> list[Row]:
    """What scanners hold against a change that was not there before it."""
    return [
        {"stage": stage, "severity": text(one.get("severity")), "line": whole(one.get("line")),
         **{name: text(one.get(name)) for name in ("tool", "rule", "path", "message")}}
        for one in mappings(facts.get("new"))
    ]  # fmt: skip


def release(after: str, facts: Mapping[str, Any]) -> list[Row]:
    """The release that the end of `ship` made.

    >>> release("shipped", {"commit": "abc"})
    [{'commit': 'abc', 'reverted': None, 'revert': ''}]
    """
    return [{"commit": text(facts.get("commit")), "reverted": None, "revert": ""}] if after == State.SHIPPED else []


def reverted(after: str, facts: Mapping[str, Any]) -> str | None:
    """The commit that took an item's release back; None when none did."""
    return text(facts.get("revert")) if after == State.ROLLED_BACK else None
