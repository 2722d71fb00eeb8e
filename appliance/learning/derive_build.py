"""What the end of a build tells: the router's choice, the attempts, and the candidates each found. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from appliance.learning.said import Row, figure, mapping, mappings, text, texts, whole
from appliance.learning.tables import TABLES
from appliance.policy import Meaning

NO_DECISION: Row = {
    name: "" if kind == "VARCHAR" else 0 if kind in ("BIGINT", "INTEGER") else None
    for name, kind in TABLES["decisions"].items()
} | {"policy_version": None}


def told_attempts(facts: Mapping[str, Any]) -> list[tuple[int, Mapping[str, Any]]]:
    """Number and account of each attempt, in order."""
    found = []
    for name, told in facts.items():
        word, _, number = name.partition(" ")
        if word == "attempt" and number.isdecimal() and len(number) < 9 and isinstance(told, Mapping):
            found.append((int(number), told))
    return sorted(found, key=lambda one: one[0])


def attempts(facts: Mapping[str, Any]) -> list[Row]:
    """The attempts one run of the build stage tells of.

    >>> attempts({"rule": "r", "attempt 2": {"strategy": "search", "outcome": "none", "tried": 3}})[0]["n"]
    2
    """
    return [
        {"n": n, "strategy": text(told.get("strategy")), "model": text(told.get("model")),
         "outcome": text(told.get("outcome")), "tried": whole(told.get("tried")),
         "plausible": whole(told.get("plausible")), "wall_seconds": figure(told.get("seconds")),
         "rule": text(facts.get("rule")),
         **{name: whole(told[name]) if name in told else None for name in ("prompt_tokens", "completion_tokens")},
         "model_seconds": figure(told["model_seconds"]) if "model_seconds" in told else None}
        for n, told in told_attempts(facts)
    ]  # fmt: skip


def maker(tries: Sequence[Row]) -> str | None:
    """Who made the change that these attempts ended in: search, or a model. None when they made none.

    >>> maker([{"strategy": "droid", "model": "m", "outcome": "plausible"}, {"strategy": "search", "outcome": "none"}])
    'm'
    """
    made = [one for one in tries if one["outcome"] == "plausible"]
    return ("search" if made[-1]["strategy"] == "search" else made[-1]["model"]) if made else None


def candidates(facts: Mapping[str, Any]) -> list[Row]:
    """The changes that each attempt found to pass, best first; the first of a plausible attempt became the change.

    >>> found = {"outcome": "plausible", "candidates": [{"origin": "off-by-one"}, {"origin": "guard"}]}
    >>> [(row["origin"], row["chosen"]) for row in candidates({"attempt 1": found})]
    [('off-by-one', True), ('guard', False)]
    """
    return [
        {"n": n, "rank": rank, "origin": text(one.get("origin")), "weight": figure(one.get("weight")),
         "cluster": whole(one.get("cluster")), "files": texts(one.get("files")), "digest": text(one.get("digest")),
         "chosen": rank == 1 and told.get("outcome") == "plausible"}
        for n, told in told_attempts(facts)
        for rank, one in enumerate(mappings(told.get("candidates")), start=1)
    ]  # fmt: skip


def decision(facts: Mapping[str, Any]) -> list[Row]:
    """The choice the build stage had from the router: no call's line tells it, as `search` is none.

    >>> decision({"rule": "r", "candidates": ["search", "m"], "attempt 2": {}})[0]["candidates"]
    ['search', 'm']

    What it was asked with and the report's vector are kept as they came, if they are of their kind.
    """
    named = facts.get("candidates")
    if not text(facts.get("rule")) or not isinstance(named, list | tuple):
        return []
    names = texts(named)
    first = next((n for n, _ in told_attempts(facts)), 0)
    asked = mapping(facts.get("asked"))
    suggested = texts(facts.get("suggested"))
    return [
        {**NO_DECISION, "source": "line", "task": "repair", "asked_model": "auto", "attempt": first,
         "stage": text(asked.get("stage")), "language": text(asked.get("language")),
         "prompt_tokens": whole(asked.get("prompt_tokens")), "severity": whole(asked.get("severity")),
         "suggested": suggested[0] if suggested else "", "features": json.dumps(asked) if asked else None,
         "meaning": _meaning(facts.get("meaning")),
         "rule": text(facts.get("rule")), "candidates": names, "chosen": names[0] if names else "",
         "explored": facts.get("explored") is True, "propensity": _chance(facts.get("propensity")),
         "policy_version": facts["policy_version"] if type(facts.get("policy_version")) is int else None}
    ]  # fmt: skip


def _meaning(told: Any) -> str | None:
    """The report's vector as JSON; None for what is none."""
    try:
        return Meaning.model_validate(told).model_dump_json() if told else None
    except ValueError:
        return None


def _chance(told: Any) -> float | None:
    """None for what is no probability: events are kept as they came."""
    return float(told) if isinstance(told, int | float) and not isinstance(told, bool) and 0 < told <= 1 else None
