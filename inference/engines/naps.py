"""Puts engines to sleep and wakes them, each in a thread of its own, because both take seconds.

An engine that is asked for goes through these states, as they are published: `ready` → `draining` (it finishes its
work, then falls asleep) → `sleeping` → `starting` (it wakes up) → `ready`. To the supervisor it is ready all the time.
Whoever unloads a model, or starts it anew, ends its nap: what comes of that sleep is then not looked at any more.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

from appliance.errors import FactoryError
from appliance.ports import Clock
from inference.engines.engine import Sleeper
from inference.engines.loaded import SLEEPING, Loaded, Nap
from inference.lifecycle import Phase

log = logging.getLogger("inference.engines")

LOOK_SECONDS = 0.1
"""Pause between two looks whether an engine that is to sleep still works."""


class Watcher(Protocol):
    """Who is told what came of it; called with the lock held."""

    def slept(self, loaded: Loaded, well: bool) -> None:
        """It sleeps; or, if not `well`, it still works or may be in any state."""
        ...

    def woke(self, loaded: Loaded, well: bool) -> None:
        """It has answered with a real token; or, if not `well`, it does not answer."""
        ...


class Naps:
    """The sleep of all engines of one pool."""

    def __init__(
        self, lock: AbstractContextManager[object], watcher: Watcher, drain_seconds: float, clock: Clock
    ) -> None:
        self._lock = lock
        self._watcher = watcher
        self._drain_seconds = drain_seconds
        self._clock = clock

    def sleep(self, loaded: Loaded) -> None:
        """Let it finish its work and fall asleep. Call it with the lock held."""
        small = loaded.candidate.asleep(loaded.place)
        assert small is not None, "whoever decides that it sleeps has asked whether it can"
        loaded.nap = Nap(loaded.place, small, self._clock.now())
        self._go(loaded, loaded.nap, self._fall_asleep)

    def wake(self, loaded: Loaded) -> None:
        """Wake one that is asleep. Call it with the lock held."""
        nap = loaded.nap
        assert nap is not None and nap.state == SLEEPING, "only one that sleeps can be woken"
        nap.state, nap.since = Phase.STARTING, self._clock.now()
        loaded.place, loaded.holds = nap.full, nap.small
        self._go(loaded, nap, self._wake_up)

    def _go(self, loaded: Loaded, nap: Nap, way: Callable[[Loaded, Nap], None]) -> None:
        threading.Thread(target=way, args=(loaded, nap), name=f"nap of {loaded.id}", daemon=True).start()

    def _fall_asleep(self, loaded: Loaded, nap: Nap) -> None:
        engine, seat = loaded.engine, loaded.seat
        until = self._clock.monotonic() + self._drain_seconds
        # A call that saw it ready may be on its way, so the first look is a moment after it was published.
        self._clock.sleep(LOOK_SECONDS)
        while (busy := engine.busy(seat)) and self._clock.monotonic() < until:
            self._clock.sleep(LOOK_SECONDS)
        if loaded.nap is not nap or loaded.unloading:
            return
        well = not busy and _tried(loaded, lambda sleeper: sleeper.sleep(seat))
        with self._lock:
            if loaded.nap is not nap or loaded.unloading:
                return
            if well:
                nap.state, nap.since, nap.fell = SLEEPING, self._clock.now(), self._clock.monotonic()
                loaded.place = nap.small
            else:
                loaded.nap = None
            self._watcher.slept(loaded, well)

    def _wake_up(self, loaded: Loaded, nap: Nap) -> None:
        engine, seat = loaded.engine, loaded.seat
        well = _tried(loaded, lambda sleeper: sleeper.wake(seat)) and _tried(loaded, lambda _: engine.answers(seat))
        with self._lock:
            if loaded.nap is not nap or loaded.unloading:
                return
            loaded.nap, loaded.holds = None, None
            loaded.woke, loaded.used = self._clock.now(), self._clock.monotonic()
            self._watcher.woke(loaded, well)


def _tried(loaded: Loaded, what: Callable[[Sleeper], bool | None]) -> bool:
    """Whether it worked. If not, it does not go on as it is, and the log of this process says why."""
    try:
        return isinstance(loaded.engine, Sleeper) and what(loaded.engine) is not False
    except FactoryError as error:
        log.warning("%s: %s", loaded.id, error.message)
        return False
