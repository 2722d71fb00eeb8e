"""How many messages a minute are taken under one name: a token bucket each."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Bucket:
    """Messages that may still come at once, as of a moment in seconds."""

    left: float
    at: float


def take_one(bucket: Bucket | None, a_minute: int, now: float) -> tuple[Bucket, float]:
    """The bucket after one more message, and the seconds until it would be taken (0: it is taken).

    A bucket that is new or was left alone for a minute holds a whole minute's messages.

    >>> take_one(None, 60, 100.0)
    (Bucket(left=59.0, at=100.0), 0.0)
    >>> take_one(Bucket(left=0.25, at=100.0), 60, 100.5)
    (Bucket(left=0.75, at=100.5), 0.25)
    """
    a_second = a_minute / 60
    left = float(a_minute) if bucket is None else min(a_minute, bucket.left + max(0.0, now - bucket.at) * a_second)
    if left < 1:
        return Bucket(left, now), (1 - left) / a_second
    return Bucket(left - 1, now), 0.0


class Pace:
    """Buckets by name, for names that we know: they are never forgotten. Safe for threads."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._buckets: dict[str, Bucket] = {}
        self._lock = threading.Lock()

    def wait(self, name: str, a_minute: int) -> float:
        """Note a message; returns the seconds its sender has to wait (0: it is taken). `a_minute` 0 takes all."""
        if not a_minute:
            return 0.0
        with self._lock:
            self._buckets[name], seconds = take_one(self._buckets.get(name), a_minute, self._monotonic())
        return seconds
