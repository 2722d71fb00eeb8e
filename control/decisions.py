"""Decisions of the router and of the line in words: what was asked, who was chosen and why, what came of it. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from appliance.errors import UsageError
from appliance.work import Noun

SOURCES = ("line", "gateway")
LONGEST = 200
"""Characters of a filter."""
MOST_BEFORE = 10**17
"""Microseconds since 1970; later than any."""

MEANS: Mapping[str, tuple[str, str]] = {
    "plausible": ("good", "made the change"), "ambiguous": ("wait", "found several, a person chooses"),
    "none": ("bad", "found none"), "refused": ("bad", "refused"), "error": ("bad", "failed"),
}  # fmt: skip
"""Outcome of a try → tone and words."""


class Asked(Noun):
    """What the list is narrowed to."""

    repo: str = ""
    item: str = ""
    rule: str = ""
    chosen: str = ""
    source: str = ""
    days: int = 0
    before: int = 0


class Decision(Noun):
    """One choice."""

    moment: int
    at: str
    source: str
    item: str = ""
    title: str = ""
    state: str = ""
    repo: str = ""
    asked: str
    rule: str
    candidates: tuple[str, ...] = ()
    chosen: str
    suggested: str = ""
    why: tuple[str, ...] = ()
    came: tuple[tuple[str, str], ...] = ()
    """Tone and words of each thing that came of it."""


def narrowed(given: Mapping[str, str]) -> Asked:
    """From an address. Raises UsageError."""
    words = {name: given.get(name, "").strip()[:LONGEST] for name in ("repo", "item", "rule", "chosen", "source")}
    if words["source"] not in ("", *SOURCES):
        raise UsageError(f"there is no source {words['source']!r}", f"one of: {', '.join(SOURCES)}")
    numbers = {"days": _whole("days", given, 36_500), "before": _whole("before", given, MOST_BEFORE)}
    return Asked(**words, **numbers)


def decision(row: Mapping[str, Any]) -> Decision:
    """A row of the question `choices` in words."""
    told = [
        ", ".join(part for part in (str(row["task"] or "a call"), str(row["language"] or "")) if part),
        f"asked for {row['asked_model']}" if row["asked_model"] not in ("", "auto", None) else "",
        f"{row['prompt_tokens']} tokens" if row["prompt_tokens"] else "",
        f"severity {row['severity']}" if row["severity"] else "",
        f"try {row['attempt']}" if row["attempt"] else "",
    ]
    return Decision(
        moment=int(row["moment"]), at=str(row["happened"]).replace(" ", "T") + "+00:00", source=str(row["source"]),
        item=str(row["item"] or ""), title=str(row["title"] or ""), state=str(row["state"] or ""),
        repo=str(row["repo"] or ""), asked="; ".join(part for part in told if part), rule=str(row["rule"]),
        candidates=tuple(map(str, row["candidates"] or ())), chosen=str(row["chosen"] or ""),
        suggested=str(row["suggested"] or ""), why=why(row), came=came(row),
    )  # fmt: skip


def why(row: Mapping[str, Any]) -> tuple[str, ...]:
    """The reasons as the router gave them, where they were kept; else what the choice itself tells."""
    reasons = row["reasons"]
    if isinstance(reasons, str):
        try:
            reasons = json.loads(reasons)
        except ValueError:
            reasons = [reasons]
    if isinstance(reasons, Sequence) and reasons:
        return tuple(str(one) for one in reasons)
    names = ", then ".join(map(str, row["candidates"] or ())) or "nobody"
    found = [f"the rule {row['rule']!r} names {names}"]
    if row["policy_version"] is not None:
        found.append(f"learned policy {row['policy_version']} was looked at")
    if row["suggested"] and row["suggested"] != row["chosen"]:
        found.append(f"it would rather have {row['suggested']}, which the rule only observes")
    if row["explored"]:
        found.append("left to chance, to learn how good it is")
    if row["propensity"] is not None:
        found.append(f"chance of this choice {row['propensity']:.0%}")
    return tuple(found)


def came(row: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """What came of it: each try of the line, or the gateway's answer."""
    tries = row["tries"] or ()
    if tries:
        return tuple(_tried(one) for one in tries)
    if row["status"] is None:
        return (("quiet", "nothing is known of it"),)
    took = f" in {row['seconds']:.1f} s" if row["seconds"] is not None else ""
    if row["status"] == 200:
        tokens = f", {row['completion_tokens']} tokens" if row["completion_tokens"] else ""
        return (("good", f"{row['answered_by']} answered{took}{tokens}"),)
    return (
        ("bad", f"{row['answered_by'] or 'nobody'} failed with {row['status']}{took}: {row['error'] or 'no words'}"),
    )


def _tried(one: Mapping[str, Any]) -> tuple[str, str]:
    tone, words = MEANS.get(str(one["outcome"]), ("quiet", str(one["outcome"])))
    who = one["model"] or one["strategy"]
    took = f" in {one['seconds']:.1f} s" if one["seconds"] is not None else ""
    return tone, f"{who} {words}{took}"


def _whole(name: str, given: Mapping[str, str], most: int) -> int:
    value = given.get(name, "") or "0"
    if not value.isdecimal() or not value.isascii() or len(value) > len(str(most)) or int(value) > most:
        raise UsageError(f"{name} cannot be {value[:40]!r}", f"a number from 0 to {most}")
    return int(value)
