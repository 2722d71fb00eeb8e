"""What was learned besides the order of candidates, in words, and what it saves: the parts of `learn report`. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from appliance.learning.priors import FILE
from appliance.learning.said import figure, mapping

LEAST = 10
"""Ended items below which no share is said."""
TOLD = 3
"""Kinds of edits that are named, the most frequent."""
PARTS = (("seconds", 3600.0, "h"), ("model_seconds", 3600.0, "h of models"), ("tokens", 1.0, "tokens"))


def searched(folder: Path) -> dict[str, Any]:
    """What `policy/repair.json` says repair by search learned: its weighted repairs by kind of edit, the most frequent
    first, and the repositories they are of. Nothing where there is no such file, or none that can be read."""
    try:
        told = json.loads((folder / FILE).read_bytes())
    except (OSError, ValueError):
        told = {}
    site = mapping(mapping(mapping(told).get("site")).get("templates"))
    counts = sorted(((name, figure(count)) for name, count in site.items()), key=lambda one: (-one[1], one[0]))
    return {"templates": dict(counts), "repositories": sorted(mapping(mapping(told).get("repositories")))}


def words(told: Mapping[str, Any]) -> list[str]:
    """What was saved, what repairs cost by rule, what the search and the lessons learned."""
    return [
        *_saved(told["saved"]), *_costs(told["costs"]), *_search(told["search"]), *_lessons(told["lessons"]),
    ]  # fmt: skip


def _saved(weeks: Sequence[Mapping[str, Any]]) -> list[str]:
    choices = sum(week["choices"] for week in weeks)
    if not choices:
        return ["no choice has followed a learned order yet: nothing is saved"]
    sums = []
    for part, unit, name in PARTS:
        known = [week[part] for week in weeks if week[part] is not None]
        if known:
            sums.append(f"{sum(known) / unit:,.1f} {name}" if unit > 1 else f"{sum(known):,.0f} {name}")
    return [f"{choices} choices followed a learned order: {', '.join(sums)} less, by the means of its first tries"]


def _costs(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Where no rule is told (older releases), attempts are said to be of an unknown one."""
    return [
        f"rule {row['group']}: {row['attempts']} attempts took {row['tokens']:,} tokens, "
        f"{row['model_seconds']:,.0f} s of models, {row['seconds']:,.0f} s in all"
        for row in rows
    ]


def _search(told: Mapping[str, Any]) -> list[str]:
    first = ", ".join(f"{name} ({count:.1f})" for name, count in list(told["templates"].items())[:TOLD])
    if not first:
        return ["repair by search has learned nothing yet"]
    places = len(told["repositories"])
    return [f"repair by search begins with what was right before, in {places} repositories: {first}"]


def _lessons(row: Mapping[str, Any]) -> list[str]:
    if not row["lessons"]:
        return ["there are no lessons yet"]
    said = f"{row['lessons']} lessons, {row['confirmed']} of them confirmed"
    pairs = [(row["held_with"], row["items_with"]), (row["held_without"], row["items_without"])]
    if min(of for _, of in pairs) < LEAST:
        return [f"{said}; {pairs[0][1]} ended items used one: too few to compare"]
    used, bare = (f"{held} of {of} ({held / of:.0%})" for held, of in pairs)
    return [f"{said}; items held: {used} with one, {bare} without (who gets one is not left to chance)"]
