"""`appliance learn frictions`: where work rubbed, how often, and what was filed because of it."""

from __future__ import annotations

from typing import Any

import click

from appliance.cli.context import Box, pass_box
from appliance.learning.client import LearningClient


@click.command()
@click.option("--repo", default="", help="Only this repository's.")
@click.option("--days", type=click.IntRange(min=0), default=0, help="Only the last N days; 0 means all.")
@pass_box
def frictions(box: Box, repo: str, days: int) -> None:
    """List where work rubbed, how often, at which items, and what was filed because of it."""
    box.require_home()
    rows = LearningClient(box.home).query("frictions", repo=repo, days=days)
    box.emit(rows, lambda: "\n".join(line for row in rows for line in in_words(row)) or "no frictions were found")


def in_words(row: dict[str, Any]) -> list[str]:
    """One friction for people."""
    filed = f"filed as {', '.join(row['filed'])}" if row["filed"] else "not filed"
    newest = ", ".join(row["items"])
    return [
        f"{row['repo']}: {row['kind']} at {row['place']}: {row['found']} items; {filed}",
        f"  newest: {newest}; {row['latest']}",
    ]
