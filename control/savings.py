"""Weeks of what following the learned policy saved (see `appliance.learning.savings`), as charts take them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from appliance.learning.savings import Saved

MOST_WEEKS = 53
"""In the chart, the newest."""

Bar = tuple[int, str, tuple[float | None]]
"""Seconds since 1970 of a week's Monday (UTC), the week's name, and one value."""


class Savings(NamedTuple):
    """By week, for charts. Below nought: the new order takes more, for more that holds."""

    hours: tuple[Bar, ...] = ()
    model_hours: tuple[Bar, ...] = ()
    """Empty where no version says model-seconds; likewise `tokens`."""
    tokens: tuple[Bar, ...] = ()
    choices: tuple[Bar, ...] = ()


def charted(weeks: Sequence[Saved]) -> Savings:
    """The newest weeks.

    >>> charted([Saved(week="2026-11-23", choices=2, seconds=5400.0, tokens=10.4)]).hours
    ((1795392000, '2026-W48', (1.5,)),)
    """
    newest = weeks[-MOST_WEEKS:]
    return Savings(
        hours=_bars([(one, _hours(one.seconds)) for one in newest]),
        model_hours=_bars([(one, _hours(one.model_seconds)) for one in newest]),
        tokens=_bars([(one, None if one.tokens is None else round(one.tokens)) for one in newest]),
        choices=_bars([(one, one.choices) for one in newest]),
    )


def _bars(told: Sequence[tuple[Saved, float | None]]) -> tuple[Bar, ...]:
    """Nothing where no week has a value."""
    if all(value is None for _, value in told):
        return ()
    return tuple((*_named(one.week), (value,)) for one, value in told)


def _hours(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds / 3600, 2)


def _named(monday: str) -> tuple[int, str]:
    day = datetime.fromisoformat(monday[:10]).replace(tzinfo=UTC)
    year, number, _ = day.isocalendar()
    return int(day.timestamp()), f"{year}-W{number:02}"
