"""What following the learned policy saved, week by week: choices counted, times as the versions say. Pure.

An estimate, not a measurement: each choice that took a version's new first candidate is counted with the mean time of
that candidate's first tries against the mean time of the one that the rule put first, both as the version was judged.
Choices left to chance are not following. Those that went by a report's meaning (predictors) are not in it either: no
such pair of times is known of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from control.learned_policy import Judged, Version

MOST_WEEKS = 53
"""In the chart, the newest."""

Bar = tuple[int, str, tuple[float | int]]
"""Seconds since 1970 of a week's Monday (UTC), the week's name, and one value."""


class Savings(NamedTuple):
    """By week, for two charts. Hours below nought: the new order takes longer, for more that holds."""

    hours: tuple[Bar, ...] = ()
    choices: tuple[Bar, ...] = ()


def saved(rows: Sequence[Mapping[str, Any]], versions: Iterable[Version]) -> Savings:
    """Sums of rows of the question `policy_weeks`, in their order; weeks with no choice to count are absent."""
    known = {one.number: one for one in versions}
    weeks: dict[str, tuple[float, int]] = {}
    for row in rows:
        version = known.get(row["version"])
        less = _less(version, row) if version else None
        followed = row["choices"] - row["explored"]
        if less is not None and followed:
            seconds, choices = weeks.get(row["week"], (0.0, 0))
            weeks[row["week"]] = (seconds + followed * less, choices + followed)
    newest = [(*_named(monday), *sums) for monday, sums in weeks.items()][-MOST_WEEKS:]
    return Savings(
        hours=tuple((at, name, (round(seconds / 3600, 2),)) for at, name, seconds, _ in newest),
        choices=tuple((at, name, (choices,)) for at, name, _, choices in newest),
    )


def _less(version: Version, row: Mapping[str, Any]) -> float | None:
    """Seconds that one such choice saved; None when it did not follow the version, or no times are known."""
    own = [cell for cell in version.judged if cell.rule == row["rule"] and cell.repo in (row["repo"], "")]
    cell = next(iter(sorted(own, key=lambda one: one.repo == "")), None)
    if cell is None or not cell.changes or not cell.order or cell.order[0] != row["chosen"]:
        return None
    return _faster(cell)


def _faster(cell: Judged) -> float | None:
    seconds = {one.candidate: one.seconds for one in cell.candidates}
    new, old = seconds.get(cell.order[0]), seconds.get(cell.before[0]) if cell.before else None
    return None if new is None or old is None or cell.order[0] == cell.before[0] else old - new


def _named(monday: str) -> tuple[int, str]:
    day = datetime.fromisoformat(monday[:10]).replace(tzinfo=UTC)
    year, number, _ = day.isocalendar()
    return int(day.timestamp()), f"{year}-W{number:02}"
