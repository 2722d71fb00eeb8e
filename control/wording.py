"""How figures, times and states are put in words. Pure; installed as template filters."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit, urlunsplit

TONES: Mapping[str, str] = {
    "closed": "good", "shipped": "good", "monitored": "good", "PASS": "good", "ready": "good",
    "done": "good", "refused": "bad", "ignored": "quiet",
    "needs_human": "wait", "INCONCLUSIVE": "wait", "starting": "wait", "draining": "wait", "ambiguous": "wait",
    "failed": "bad", "rejected": "bad", "rolled_back": "bad", "FAIL": "bad", "lost": "bad", "error": "bad",
    "cancelled": "quiet", "duplicate": "quiet", "stopped": "quiet", "none": "quiet",
    "sleeping": "quiet", "confirmed": "good", "decayed": "quiet", "retired": "quiet",
}  # fmt: skip
"""What a state, verdict or process state feels like; anything else is under way."""


def tone(word: str) -> str:
    """good, wait, bad, quiet or live.

    >>> tone("closed"), tone("built")
    ('good', 'live')
    """
    return TONES.get(str(word), "live")


def seconds(value: float | None) -> str:
    """A duration for people.

    >>> [seconds(v) for v in (None, 0.04, 3.21, 75, 3720)]
    ['–', '< 0.1 s', '3.2 s', '1 min 15 s', '1 h 2 min']
    """
    if value is None:
        return "–"
    if value < 0.1:
        return "< 0.1 s"
    if value < 60:
        return f"{value:.1f} s"
    whole = round(value)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def moment(value: datetime | str) -> str:
    """A time to the second, in UTC.

    >>> moment("2026-11-25T20:15:03.120+00:00")
    '2026-11-25 20:15:03 UTC'
    """
    return f"{_parsed(value):%Y-%m-%d %H:%M:%S} UTC"


def clock(value: datetime | str) -> str:
    """The time of day alone, in UTC.

    >>> clock("2026-11-25T20:15:03.120+00:00")
    '20:15:03'
    """
    return f"{_parsed(value):%H:%M:%S}"


def ago(value: datetime | str, now: datetime | None = None) -> str:
    """How long ago, roughly. A time ahead of the clock counts as now.

    >>> ago("2026-11-25T20:00:00+00:00", datetime(2026, 11, 25, 20, 5, tzinfo=UTC))
    '5 min ago'
    """
    past = max(0.0, ((now or datetime.now(UTC)) - _parsed(value)).total_seconds())
    for size, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if past >= size:
            return f"{int(past // size)} {name} ago"
    return "just now"


def words(name: str) -> str:
    """A name from the code as words.

    >>> words("needs_human")
    'needs human'
    """
    return str(name).replace("_", " ")


def shell(word: str) -> str:
    """A word as a shell takes it, for commands that people copy.

    >>> shell("shop"), shell("a; b")
    ('shop', "'a; b'")
    """
    return shlex.quote(str(word))


def pretty(value: Any) -> str:
    """Any evidence as indented JSON."""
    return json.dumps(value, indent=2, ensure_ascii=False, default=str, sort_keys=True)


def without_password(url: str) -> str:
    """A URL as it may be shown.

    >>> without_password("https://bot:secret@git.example/a.git")
    'https://bot:…@git.example/a.git'
    """
    try:
        parts = urlsplit(url)
        if parts.password is None:
            return url
        return urlunsplit(parts._replace(netloc=f"{parts.username}:…@{parts.netloc.rpartition('@')[2]}"))
    except ValueError:
        return "(not a URL)"


def _parsed(value: datetime | str) -> datetime:
    when = datetime.fromisoformat(value) if isinstance(value, str) else value
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)


BROWSERS = (
    ("Firefox/", "Firefox"), ("Edg/", "Edge"), ("OPR/", "Opera"), ("Chrome/", "Chrome"), ("Version/", "Safari"),
    ("curl/", "curl"),
)  # fmt: skip
"""What a browser says of itself → its name; those that call themselves by two names come first."""
SYSTEMS = ("Windows", "Android", "iPhone", "iPad", "Mac OS X", "Linux")


def browser(agent: str) -> str:
    """A User-Agent header in few words.

    >>> browser("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36")
    'Chrome 126 on Linux'
    >>> browser("")
    'unknown'
    """
    mark, name = next(((mark, name) for mark, name in BROWSERS if mark in agent), ("", ""))
    if not mark:
        return agent[:60] or "unknown"
    version = agent.partition(mark)[2].partition(".")[0].partition(" ")[0][:8]
    system = next((system for system in SYSTEMS if system in agent), "")
    return f"{name} {version}" + (f" on {system}" if system else "")


FILTERS: Mapping[str, Callable[..., Any]] = {
    "tone": tone, "seconds": seconds, "moment": moment, "clock": clock, "ago": ago, "words": words, "pretty": pretty,
    "without_password": without_password, "browser": browser, "shell": shell,
}  # fmt: skip
