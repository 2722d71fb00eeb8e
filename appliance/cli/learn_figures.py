"""`appliance learn figures`: how far the box works alone, how fast, and how good its reviews are, in words."""

from __future__ import annotations

from typing import Any

import click

from appliance.cli.context import Box, pass_box
from appliance.learning.client import LearningClient
from appliance.line.replay.scores import share, wilson

LEAST = 10
"""Cases below which a share is not shown: its interval would span more than half of all there is."""


@click.command()
@click.option("--by", type=click.Choice(["repo", "model", "week"]), default="repo", help="What to tell apart.")
@click.option("--repo", default="", help="Only this repository's.")
@click.option("--days", type=click.IntRange(min=0), default=0, help="Only the last N days; 0 means all.")
@pass_box
def figures(box: Box, by: str, repo: str, days: int) -> None:
    """Show what was shipped without a person, how long it took, what was reverted, which objections held, what attempts
    cost."""
    box.require_home()
    client = LearningClient(box.home)
    data: dict[str, Any] = {
        "autonomy": client.query("autonomy", by=by, repo=repo, days=days),
        "review_precision": client.query("review_precision", by=by, repo=repo, days=days),
        "costs": client.query("costs", by=by, repo=repo, days=days),
    }
    box.emit(data, lambda: "\n".join(in_words(data)))


def in_words(data: dict[str, Any]) -> list[str]:
    """The figures for people, with what is too little to say."""
    lines = [line for row in data["autonomy"] for line in shipped(row)] or ["nothing was shipped yet"]
    shipped_in = {row["group"]: row["shipped"] for row in data["autonomy"]}
    lines += [objections(row) for row in data["review_precision"]]
    return lines + [cost(row, shipped_in.get(row["group"], 0)) for row in data["costs"]]


def shipped(row: dict[str, Any]) -> list[str]:
    """One group's releases."""
    took = (
        f"median {duration(row['median_seconds'])} from signal to ship, nine of ten in {duration(row['p90_seconds'])}"
    )
    return [
        f"{row['group']}: {row['shipped']} shipped; {took}",
        f"  without a person: {part(row['alone'], row['shipped'])}",
        f"  reverted: {part(row['reverted'], row['shipped'])}",
    ]


def objections(row: dict[str, Any]) -> str:
    """One group's objections of gates."""
    judged = row["accepted"] + row["overruled"]
    rest = f"; {row['acted_on']} the box acted on by itself, {row['undecided']} nobody decided yet"
    return f"{row['group']}: of {row['objections']} objections people accepted {part(row['accepted'], judged)}{rest}"


def cost(row: dict[str, Any], shipped: int = 0) -> str:
    """What one group's attempts at repairs took.

    >>> told = {"group": "shop", "attempts": 4, "tokens": 8000, "model_seconds": 30.0, "seconds": 90.0}
    >>> cost(told, 2)
    'shop: 4 attempts at repairs took 8,000 tokens (4,000 for each change shipped), 30 s of models, 90 s in all'
    """
    each = f" ({row['tokens'] / shipped:,.0f} for each change shipped)" if shipped and row["tokens"] else ""
    tokens = f"{row['tokens']:,} tokens{each}"
    took = f"{tokens}, {duration(row['model_seconds'])} of models, {duration(row['seconds'])} in all"
    return f"{row['group']}: {row['attempts']} attempts at repairs took {took}"


def part(count: int, of: int) -> str:
    """A share, or that there is too little to say.

    >>> part(3, 4)
    '3 of 4 (too few to say a share)'
    """
    if of < LEAST:
        return f"{count} of {of} (too few to say a share)"
    return share({"right": count, "of": of, "share": count / of, "interval": wilson(count, of)})


def duration(seconds: float | None) -> str:
    """Seconds in the unit a person would use.

    >>> duration(90), duration(7200)
    ('90 s', '120 min')
    """
    if seconds is None:
        return "an unknown time"
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 3 * length or (unit == "min" and seconds >= 2 * length):
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
