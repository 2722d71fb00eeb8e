"""Figures of the learning store as shares with their uncertainty, and the shapes of their charts. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from appliance.lesson import between
from appliance.work import Noun

LEAST = 10
"""Cases below which no share is said: its interval would span more than half of all there is."""
MOST_COLUMNS = 53
"""Weeks in a chart, the newest."""


class Share(Noun):
    """So many of so many, with Wilson's 95 % interval."""

    count: int
    of: int
    low: float = 0.0
    high: float = 1.0

    @property
    def says(self) -> bool:
        """Are there enough cases for a share?"""
        return self.of >= LEAST

    @property
    def part(self) -> float:
        """From 0 to 1."""
        return self.count / self.of if self.of else 0.0

    def in_words(self) -> str:
        """For people.

        >>> share(18, 20).in_words(), share(3, 4).in_words(), share(0, 0).in_words()
        ('90\\xa0%', '3 of 4', '–')
        """
        if not self.of:
            return "–"
        return f"{self.part:.0%}".replace("%", "\u00a0%") if self.says else f"{self.count} of {self.of}"

    def beside(self) -> str:
        """What is to be known beside it.

        >>> share(18, 20).beside(), share(3, 4).beside()
        ('18 of 20; 70 to 97\\xa0%', 'too few to say a share')
        """
        if not self.of:
            return "none yet"
        sure = f"{self.count} of {self.of}; {100 * self.low:.0f} to {100 * self.high:.0f}\u00a0%"
        return sure if self.says else "too few to say a share"


def share(count: int, of: int) -> Share:
    """A share with its interval."""
    low, high = between(count, of) if of else (0.0, 1.0)
    return Share(count=count, of=of, low=low, high=high)


def shipped(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of the question `autonomy` with its shares."""
    of = row["shipped"]
    return {**row, "alone_share": share(row["alone"], of), "reverted_share": share(row["reverted"], of)}


def objected(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of the question `review_precision` with its share: of what people decided, what they accepted."""
    return {**row, "accepted_share": share(row["accepted"], row["accepted"] + row["overruled"])}


def contended(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of the question `replay_runs` with its shares."""
    return {
        **row, "first_share": share(row["first"], row["tasks"]), "selected_share": share(row["selected"], row["tasks"]),
        "false_share": share(row["wrong"], row["accepted"]),
    }  # fmt: skip


class Weeks(Noun):
    """Weeks as charts take them: seconds since 1970 of the Monday, the week's name, and the values."""

    counts: list[tuple[int, str, tuple[int, ...]]]
    hours: list[tuple[int, str, tuple[float | None, ...]]]


def by_week(rows: Sequence[Mapping[str, Any]]) -> Weeks:
    """The newest weeks of the question `autonomy`: changes shipped, alone and taken back; median hours to ship.

    >>> by_week([{"group": "2026-W01", "shipped": 3, "alone": 2, "reverted": 0, "median_seconds": 5400.0}])
    Weeks(counts=[(1766966400, '2026-W01', (3, 2, 0))], hours=[(1766966400, '2026-W01', (1.5,))])
    """
    newest = [(_monday(row["group"]), row) for row in rows[-MOST_COLUMNS:]]
    return Weeks(
        counts=[(at, row["group"], (row["shipped"], row["alone"], row["reverted"])) for at, row in newest],
        hours=[(at, row["group"], (_hours(row["median_seconds"]),)) for at, row in newest],
    )


def _monday(week: str) -> int:
    year, _, number = week.partition("-W")
    return int(datetime.fromisocalendar(int(year), int(number), 1).replace(tzinfo=UTC).timestamp())


def _hours(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds / 3600, 2)


def runs(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows of the question `replay_runs` as runs, the newest first, each with its contenders."""
    found: dict[tuple[str, int], dict[str, Any]] = {}
    for row in rows:
        about = {name: row[name] for name in ("repo", "run", "begun", "ended", "words", "why", "planned")}
        one = found.setdefault((row["repo"], row["run"]), {**about, "contenders": []})
        one["contenders"].append(contended(row))
    return list(found.values())
