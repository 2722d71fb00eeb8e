"""How a mirror stands with its server, in words."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from appliance.work import MirrorHealth, TrackedRepository


def in_short(health: MirrorHealth, now: datetime) -> str:
    """One cell of a table.

    >>> in_short(MirrorHealth(), datetime.now())
    'not fetched yet'
    """
    if health.fetched is None:
        return f"never fetched: {health.error}" if health.error else "not fetched yet"
    since = f"fetched {ago(health.fetched, now)}"
    if health.error:
        return f"{since}, {'away: ' if health.failures else ''}{health.error}"
    return f"{since}; API: {health.api_error}" if health.api_error else since


def at_length(health: MirrorHealth, now: datetime) -> list[str]:
    """All there is to tell, a line each."""
    lines = [f"mirror: {in_short(health, now)}"]
    lines += [f"  fix: {hint}" for hint in (health.hint, health.api_hint) if hint]
    if health.next_fetch:
        wait = max((health.next_fetch - now).total_seconds(), 0.0)
        failed = f", after {health.failures} failures in a row" if health.failures else ""
        lines.append(f"  next poll in {span(wait)}{failed}")
    if health.size_bytes:
        lines.append(f"  {health.branches} branches, {in_bytes(health.size_bytes)}")
    if health.changed:
        lines.append(f"  something new {ago(health.changed, now)}")
    if health.heard:
        lines.append(f"  the forge told its news {ago(health.heard, now)}")
    return lines + [f"  noticed: {note}" for note in health.notes]


def told(tracked: TrackedRepository, health: MirrorHealth, now: datetime) -> dict[str, Any]:
    """For programs: the repository, how its mirror stands, and how far it lags behind what the server may have."""
    return {
        **tracked.model_dump(mode="json"),
        "mirror": {**health.model_dump(mode="json"), "lag_seconds": health.lag_seconds(now)},
    }


def ago(then: datetime, now: datetime) -> str:
    """How long ago."""
    return f"{span(max((now - then).total_seconds(), 0.0))} ago"


def span(seconds: float) -> str:
    """A time in its largest unit.

    >>> [span(s) for s in (5, 119, 5400, 200000)]
    ['5 s', '1 min', '1 h', '2 days']
    """
    for size, name in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= size * (2 if name == "days" else 1):
            return f"{int(seconds // size)} {name}"
    return f"{int(seconds)} s"


def in_bytes(size: float) -> str:
    """A size in its largest unit.

    >>> [in_bytes(n) for n in (512, 2048, 5 * 2**30)]
    ['512 B', '2.0 KiB', '5.0 GiB']
    """
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"
