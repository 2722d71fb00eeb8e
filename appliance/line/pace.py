"""When a mirror is polled next, and how it stands after a poll. Pure."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from appliance.errors import FactoryError
from appliance.settings import LineSettings
from appliance.work import MirrorHealth

ACTIVE_SECONDS = 600.0
"""So long after something new the pause is shorter."""
QUICKER = 4
"""By how much."""
HOOKED = timedelta(days=1)
"""A webhook that is younger says that more will come."""
LONGEST_WAIT = 86400.0
"""Seconds: what a forge may at most ask the box to wait."""


def pause(settings: LineSettings, failures: int, hooked: bool, active: bool, chance: float, hint: str = "") -> float:
    """Seconds until the next poll. `chance`, 0 to 1, keeps mirrors from coming all at once.

    With failures it doubles each time, up to `line.away_seconds`, and is never shorter than what the server asked for.

    >>> [pause(LineSettings(), n, False, False, 0.5) for n in (0, 1, 2, 3, 9)]
    [60.0, 60.0, 120.0, 240.0, 3600.0]
    """
    if failures:
        doubled = settings.sync_seconds * 2.0 ** min(failures - 1, 30)
        return max(min(doubled, settings.away_seconds) * (0.75 + chance / 2), asked_to_wait(hint))
    usual = settings.hooked_seconds if hooked else settings.sync_seconds / (QUICKER if active else 1)
    return usual * (0.9 + chance / 5)


def asked_to_wait(hint: str) -> float:
    """Seconds that a server asked for in an error's hint (see ports.Forge); 0 for none.

    >>> asked_to_wait("try again in 17 s"), asked_to_wait("")
    (17.0, 0.0)
    """
    found = re.search(r"try again in (\d{1,9}) s\b", hint)
    return min(float(found.group(1)), LONGEST_WAIT) if found else 0.0


def unchanged(before: MirrorHealth, now: datetime) -> MirrorHealth:
    """How a mirror stands when its server has nothing new."""
    return before.with_(fetched=now, tried=now, failures=0)


def not_fetched(before: MirrorHealth, now: datetime, error: FactoryError) -> MirrorHealth:
    """How it stands when its server could not be asked."""
    return before.with_(tried=now, failures=before.failures + 1, error=error.message, hint=error.hint)


def heard(before: MirrorHealth, now: datetime) -> MirrorHealth:
    """How it stands after its forge's API told the news."""
    return before.with_(heard=now, api_failures=0, api_error="", api_hint="")


def not_heard(before: MirrorHealth, error: FactoryError) -> MirrorHealth:
    """How it stands after it did not."""
    return before.with_(api_failures=before.api_failures + 1, api_error=error.message, api_hint=error.hint)
