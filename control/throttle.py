"""Slows down whoever keeps presenting what is wrong: counts failures in a row, by address or by account.

The longest wait is a minute, so nothing is ever locked for good.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

FREE_TRIES = 5
LONGEST_WAIT = 60.0
"""Seconds."""
MOST_ADDRESSES = 4096
"""Remembered at once; beyond it the one that failed longest ago is forgotten."""


def wait_after(failures: int, free: int = FREE_TRIES) -> float:
    """Seconds to wait after so many failures in a row, the first of which are free.

    >>> [wait_after(n) for n in (0, 5, 6, 7, 20)]
    [0.0, 0.0, 1.0, 2.0, 60.0]
    """
    if failures <= free:
        return 0.0
    return min(LONGEST_WAIT, 2.0 ** min(failures - free - 1, 10))


class Throttle:
    """Failures by address or account. Safe for threads."""

    def __init__(self, monotonic: Callable[[], float], free: int = FREE_TRIES) -> None:
        self._monotonic = monotonic
        self._free = free
        self._seen: OrderedDict[str, tuple[int, float]] = OrderedDict()
        self._lock = threading.Lock()

    def failed(self, key: str) -> float:
        """Note a failure; returns the seconds it still has to wait from before (0: it may try)."""
        now = self._monotonic()
        with self._lock:
            count, until = self._seen.get(key, (0, 0.0))
            if now < until:
                return until - now
            wait = wait_after(count + 1, self._free)
            self._seen[key] = (count + 1, now + wait)
            self._seen.move_to_end(key)
            while len(self._seen) > MOST_ADDRESSES:
                self._seen.popitem(last=False)
            return 0.0

    def waits(self, key: str) -> bool:
        """Has it failed so often that it has to wait now?"""
        return self.left(key) > 0

    def left(self, key: str) -> float:
        """Seconds it still has to wait."""
        with self._lock:
            return max(0.0, self._seen.get(key, (0, 0.0))[1] - self._monotonic())

    def failures(self, key: str) -> int:
        """How often it failed in a row."""
        with self._lock:
            return self._seen.get(key, (0, 0.0))[0]

    def succeeded(self, key: str) -> None:
        """Forget what it did wrong."""
        with self._lock:
            self._seen.pop(key, None)
