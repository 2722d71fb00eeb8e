"""Slows down whoever keeps presenting wrong tokens.

Only failures are throttled. The right token is always taken, because it cannot be guessed (256 bits), so nobody can
lock the operator out by failing on purpose from the same address.
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


def wait_after(failures: int) -> float:
    """Seconds to wait after so many failures in a row.

    >>> [wait_after(n) for n in (0, 5, 6, 7, 20)]
    [0.0, 0.0, 1.0, 2.0, 60.0]
    """
    if failures <= FREE_TRIES:
        return 0.0
    return min(LONGEST_WAIT, 2.0 ** min(failures - FREE_TRIES - 1, 10))


class Throttle:
    """Failures by address. Safe for threads."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._seen: OrderedDict[str, tuple[int, float]] = OrderedDict()
        self._lock = threading.Lock()

    def failed(self, address: str) -> float:
        """Note a failure; returns the seconds this address still has to wait (0 while it has free tries)."""
        now = self._monotonic()
        with self._lock:
            count, until = self._seen.get(address, (0, 0.0))
            if now < until:
                return until - now
            wait = wait_after(count + 1)
            self._seen[address] = (count + 1, now + wait)
            self._seen.move_to_end(address)
            while len(self._seen) > MOST_ADDRESSES:
                self._seen.popitem(last=False)
            return 0.0

    def waits(self, address: str) -> bool:
        """Has this address failed so often that it has to wait now?"""
        with self._lock:
            return self._monotonic() < self._seen.get(address, (0, 0.0))[1]

    def succeeded(self, address: str) -> None:
        """Forget what the address did wrong."""
        with self._lock:
            self._seen.pop(address, None)
