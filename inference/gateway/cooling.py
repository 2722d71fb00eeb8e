"""Cool-down of single engines: after one was lost or said it is busy, calls that have another candidate go there for a
moment. Nobody is refused because of it: who has no other candidate waits until it is over, and is sent."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable

LONGEST = 60.0
"""The most that an engine's own Retry-After is believed, in seconds."""


class Cooling:
    """The engines of one gateway that are left alone for a moment."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._until: dict[str, tuple[Hashable, float]] = {}

    def cool(self, model: str, mark: Hashable, asked: float | None = None) -> None:
        """Leave this engine alone, for as long as it asked for when it did."""
        seconds = self._seconds if asked is None else min(asked, LONGEST)
        until = self._clock() + seconds
        known, before = self._until.get(model, (mark, 0.0))
        self._until[model] = mark, max(until, before if known == mark else 0.0)

    def end(self, model: str) -> None:
        """It answered since."""
        self._until.pop(model, None)

    def left(self, model: str, mark: Hashable) -> float:
        """Seconds until it is used again; 0 for one that is, or that was started anew."""
        known, until = self._until.get(model, (mark, 0.0))
        left = until - self._clock()
        if known == mark and left > 0:
            return left
        self._until.pop(model, None)
        return 0.0

    def count(self) -> int:
        """How many are left alone now."""
        now = self._clock()
        return sum(until > now for _, until in self._until.values())
