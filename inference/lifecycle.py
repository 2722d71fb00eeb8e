"""The life of a supervised process, as a pure state machine.

From       to         when
=========  =========  ==============================================================================
stopped    starting   it is wanted
starting   ready      its probe answered
starting   failed     it ended, could not be started, or was not ready in time (then it is killed)
starting   draining   it is no longer wanted, or is to be renewed
ready      failed     it ended, or answers no longer (then it is killed)
ready      draining   it is no longer wanted, or is to be renewed
draining   stopped    it ended (asked to once its work is done; after a while it is killed)
failed     starting   the back-off is over; never when it is parked
failed     stopped    it is no longer wanted

`decide` looks at one process and says what happens next and what is to be done about it; whoever has effects does it.
One that was ready and then ended is started again at once. Failures in a row are followed by a pause, so that nothing
is started over and over: it doubles up to a cap, with jitter so that several do not come back at once, and the time
for which it was ready counts towards it. Having been ready for as long as the pause would be ends the row. A process
whose start fails `restart_limit` times in a row is parked: it stays failed until somebody starts it anew; having been
ready ends that count.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum


class Phase(StrEnum):
    """Where a process is in its life."""

    STOPPED = "stopped"
    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    FAILED = "failed"


LEGAL: Mapping[Phase, frozenset[Phase]] = {
    Phase.STOPPED: frozenset({Phase.STARTING}),
    Phase.STARTING: frozenset({Phase.READY, Phase.FAILED, Phase.DRAINING}),
    Phase.READY: frozenset({Phase.FAILED, Phase.DRAINING}),
    Phase.DRAINING: frozenset({Phase.STOPPED}),
    Phase.FAILED: frozenset({Phase.STARTING, Phase.STOPPED}),
}
"""The table above, as data."""


class Action(StrEnum):
    """What is to be done about a process now."""

    NOTHING = "nothing"
    SPAWN = "spawn"
    TERMINATE = "terminate"
    KILL = "kill"


@dataclass(frozen=True)
class Patience:
    """How long and how often; all times in seconds."""

    start_seconds: float = 60.0
    drain_seconds: float = 0.0
    """For work in flight before it is asked to end; 0 asks at once."""
    stop_seconds: float = 10.0
    """From asking it to end until it is killed."""
    restart_limit: int = 3
    """Failed starts in a row; the end of one that was ready is none."""
    backoff_seconds: float = 0.5
    backoff_cap_seconds: float = 30.0
    alive_seconds: float = 0.0
    """Pause between two looks whether a ready one still answers; 0 for no looks."""
    alive_misses: int = 3
    """Looks in a row without an answer after which it counts as failed."""

    def backoff(self, failures: int, jitter: float) -> float:
        """Pause before the next start after so many failures in a row; `jitter` in 0..1 spreads it by ±20 %."""
        doubled = self.backoff_seconds * 2.0 ** min(max(failures, 1) - 1, 30)
        return min(doubled, self.backoff_cap_seconds) * (0.8 + 0.4 * jitter)


@dataclass(frozen=True)
class Life:
    """What is remembered of one process. Times are monotonic seconds."""

    phase: Phase = Phase.STOPPED
    wanted: bool = False
    renew: bool = False
    """It is to be ended and started again, with a command made anew."""
    since: float = 0.0
    deadline: float | None = None
    asked: bool = False
    """While draining: it has been asked to end, and is no longer left to finish its work."""
    failed_starts: int = 0
    failures: int = 0
    restarts: int = 0
    next_try: float | None = None
    reason: str = ""

    @property
    def parked(self) -> bool:
        """Failed for good, until somebody starts it anew."""
        return self.phase is Phase.FAILED and self.next_try is None


@dataclass(frozen=True)
class Seen:
    """What can be seen of a process now."""

    now: float
    ended: str | None = None
    """Why it ended, in words; None while it lives or never lived."""
    answers: bool = False
    """Its probe answered."""
    busy: bool = False
    """It has work in flight that should be finished before it ends."""
    silent: str | None = None
    """That it answers no longer, in words; None while it does."""
    said: str = ""
    """What the probe or the log says about why it does not answer."""
    jitter: float = 0.5


def want(life: Life, wanted: bool, now: float) -> Life:
    """Ask for a process to run, or not to. Asking for one that does not run forgets its failures and tries at once."""
    if wanted and life.phase in (Phase.FAILED, Phase.STOPPED):
        due = now if life.phase is Phase.FAILED else None
        return replace(life, wanted=True, failed_starts=0, failures=0, next_try=due)
    return replace(life, wanted=wanted)


def decide(life: Life, seen: Seen, patience: Patience) -> tuple[Life, Action]:
    """The next step of one process: how its life goes on, and what is to be done."""
    match life.phase:
        case Phase.STOPPED:
            return _start(life, seen, patience) if life.wanted else (life, Action.NOTHING)
        case Phase.STARTING:
            return _while_starting(life, seen, patience)
        case Phase.READY:
            return _while_ready(life, seen, patience)
        case Phase.DRAINING:
            return _while_draining(life, seen, patience)
        case Phase.FAILED:
            if not life.wanted:
                return replace(life, phase=Phase.STOPPED, since=seen.now, next_try=None), Action.NOTHING
            due = life.next_try is not None and seen.now >= life.next_try
            return _start(life, seen, patience) if due else (life, Action.NOTHING)


def _start(life: Life, seen: Seen, patience: Patience) -> tuple[Life, Action]:
    again = 1 if life.phase is Phase.FAILED else 0
    started = replace(
        life,
        phase=Phase.STARTING,
        renew=False,
        since=seen.now,
        deadline=seen.now + patience.start_seconds,
        restarts=life.restarts + again,
        next_try=None,
    )
    return started, Action.SPAWN


def _while_starting(life: Life, seen: Seen, patience: Patience) -> tuple[Life, Action]:
    if seen.ended is not None:
        return _fail(replace(life, failed_starts=life.failed_starts + 1), seen, patience, seen.ended), Action.NOTHING
    if not life.wanted or life.renew:
        return _drain(life, seen, patience)
    if seen.answers:
        return replace(
            life, phase=Phase.READY, since=seen.now, deadline=None, failed_starts=0, reason=""
        ), Action.NOTHING
    if life.deadline is not None and seen.now > life.deadline:
        why = f"not ready after {patience.start_seconds:g} s" + (f": {seen.said}" if seen.said else "")
        return _fail(replace(life, failed_starts=life.failed_starts + 1), seen, patience, why), Action.KILL
    return life, Action.NOTHING


def _while_ready(life: Life, seen: Seen, patience: Patience) -> tuple[Life, Action]:
    if seen.ended is not None:
        return _fail(life, seen, patience, seen.ended), Action.NOTHING
    if seen.silent is not None:
        return _fail(life, seen, patience, seen.silent), Action.KILL
    stays = life.wanted and not life.renew
    return (life, Action.NOTHING) if stays else _drain(life, seen, patience)


def _drain(life: Life, seen: Seen, patience: Patience) -> tuple[Life, Action]:
    at_once = life.phase is Phase.STARTING or patience.drain_seconds <= 0
    pause = patience.stop_seconds if at_once else patience.drain_seconds
    draining = replace(
        life, phase=Phase.DRAINING, renew=False, since=seen.now, deadline=seen.now + pause, asked=at_once
    )
    return draining, Action.TERMINATE if at_once else Action.NOTHING


def _while_draining(life: Life, seen: Seen, patience: Patience) -> tuple[Life, Action]:
    if seen.ended is not None:
        return replace(life, phase=Phase.STOPPED, since=seen.now, deadline=None, asked=False), Action.NOTHING
    late = life.deadline is not None and seen.now > life.deadline
    if not life.asked and (late or not seen.busy):
        return replace(life, asked=True, deadline=seen.now + patience.stop_seconds), Action.TERMINATE
    return life, Action.KILL if life.asked and late else Action.NOTHING


def _fail(life: Life, seen: Seen, patience: Patience, reason: str) -> Life:
    failures, pause = _row(life, seen, patience)
    parked = life.failed_starts >= patience.restart_limit
    if parked:
        reason = f"{reason} (start failed {life.failed_starts} times in a row; not tried again)"
    return replace(
        life,
        phase=Phase.FAILED,
        since=seen.now,
        deadline=None,
        failures=failures,
        next_try=None if parked else seen.now + pause,
        reason=reason,
    )


def _row(life: Life, seen: Seen, patience: Patience) -> tuple[int, float]:
    """How many failures in a row there are with this one, and the pause after it in seconds."""
    pause, lived = patience.backoff(life.failures, seen.jitter), seen.now - life.since
    if life.phase is not Phase.READY:
        return life.failures + 1, patience.backoff(life.failures + 1, seen.jitter)
    if life.failures and lived < pause:
        return life.failures + 1, pause - lived
    # One that is silent may need the moment; of one that ended nothing is left that could.
    return 1, patience.backoff(1, seen.jitter) if seen.ended is None else 0.0
