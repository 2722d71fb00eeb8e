"""Whose turn it is, when not all models fit at once: which calls go to an engine now, and which models may leave. Pure.

Calls for a model that is not ready wait in its line. A loaded model whose place others wait for keeps its turn for
`turn_seconds`; then no new call goes to it, those at work end, and it leaves. Whatever waited before it was ready goes
to it first, at least one batch of it, before anybody may ask it to leave: each swap serves everybody who waited for it,
and there is at most one swap in a turn, however the calls are mixed. The line that has waited for longest is served
next, so nobody starves; who waits for longer than `gateway.queue_seconds` is told so.

Within a line, the keys take turns: whoever has the fewest calls at work goes first, then whoever came first. Batch
calls stand back: they go after all interactive ones, and end no turn that those use, until they have waited for half of
the time that calls wait at most. From then on they are like all others, so that they are served however busy it is.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field

LINGER_SECONDS = 1.0
"""A model without work leaves before the end of its turn only after so long: the next call of a loop is on its way."""
AHEAD = 2
"""Calls for each slot that an engine is given while others wait for its place: it always has the next one there."""
USUAL_SLOTS = 4
"""Of an engine that does not say."""
ASK_SECONDS = 1.0
"""Pause between two requests to load the same model."""
TELL_SECONDS = 5.0
"""Pause between two reports about which models are in use."""
READY = "ready"
AT_REST = frozenset({"failed", "sleeping"})
"""States in which a model has no work that could be waited for."""
FIRST_POLL, POLL = 0.1, 0.5
"""How often the first of a line looks whether its engine is ready, and the others whether they must give up."""


@dataclass(eq=False)
class Waiter:
    """One call that wants a model."""

    call: str
    model: str
    key: str
    arrived: float
    batch: bool = False
    """It can wait: interactive calls go first."""
    wake: Callable[[], None] = lambda: None
    """Called when it should look again at once."""

    @property
    def lane(self) -> tuple[str, bool]:
        """Where in its line it stands."""
        return self.key, self.batch


@dataclass
class Seat:
    """One loaded model."""

    mark: Hashable = None
    since: float = 0.0
    """When its turn began: it was seen to be ready."""
    rested: float = 0.0
    """When its last call ended."""
    admitted: int = 0
    """Calls that went to it in this turn."""
    at_work: dict[str, str] = field(default_factory=dict)
    """Call → its key."""


@dataclass
class Line:
    """The calls that wait for one model."""

    lanes: dict[tuple[str, bool], deque[Waiter]] = field(default_factory=dict)
    """One for each key's interactive calls, and one for its batch calls."""
    asked: float = -ASK_SECONDS
    blocked_by: frozenset[str] = frozenset()
    """Loaded models that have to leave first."""

    def heads(self) -> Iterator[Waiter]:
        """The first of every lane."""
        return (waiters[0] for waiters in self.lanes.values())

    def oldest(self) -> float:
        """When the one that waits for longest came."""
        return min(waiter.arrived for waiter in self.heads())


class Turns:
    """All lines and all loaded models of one gateway."""

    def __init__(self, turn_seconds: float, queue_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._turn = turn_seconds
        self._pressing = queue_seconds / 2
        self._clock = clock
        self._seats: dict[str, Seat] = {}
        self._lines: dict[str, Line] = {}
        self._where: dict[str, str] = {}
        self._used: set[str] = set()
        self._told = clock()

    def waiter(self, call: str, model: str, key: str, *, batch: bool = False) -> Waiter:
        """For a call that comes now."""
        return Waiter(call, model, key, self._clock(), batch)

    def go(self, waiter: Waiter, mark: Hashable, slots: int) -> bool:
        """Its engine is ready: whether it may go there now. If so it is at work until `leave`.

        `mark` is another one whenever the engine was started anew.
        """
        seat = self._seen(waiter.model, mark)
        if self._where.get(waiter.call) == waiter.model:
            return True  # it is there already, and tries again
        batch = AHEAD * (slots or USUAL_SLOTS)
        if not self._may_go(waiter, seat, batch):
            return False
        self.leave(waiter.call)
        self._where[waiter.call] = waiter.model
        seat.at_work[waiter.call] = waiter.key
        seat.admitted += 1
        self._used.add(waiter.model)
        self.give_up(waiter)
        self._wake_first(waiter.model)
        return True

    def leave(self, call: str) -> None:
        """A call is over, or goes to another model. Safe to call for any."""
        model = self._where.pop(call, None)
        if model is None:
            return
        seat = self._seats[model]
        seat.at_work.pop(call)
        self._used.add(model)
        if not seat.at_work:
            seat.rested = self._clock()
            for rival in self._rivals(model):
                self._lines[rival].asked = -ASK_SECONDS
                self._wake_first(rival)
        self._wake_first(model)

    def wait(self, waiter: Waiter) -> None:
        """Stand in line."""
        line = self._lines.setdefault(waiter.model, Line())
        line.lanes.setdefault(waiter.lane, deque()).append(waiter)

    def give_up(self, waiter: Waiter) -> None:
        """Step out of the line. Safe to call for one that stands in none."""
        line = self._lines.get(waiter.model)
        waiters = line.lanes.get(waiter.lane) if line else None
        if line is None or waiters is None or waiter not in waiters:
            return
        waiters.remove(waiter)
        if not waiters:
            del line.lanes[waiter.lane]
        if not line.lanes:
            del self._lines[waiter.model]

    def pause(self, waiter: Waiter) -> float:
        """How long it may sleep before it looks again, in seconds."""
        return FIRST_POLL if self._is_first(waiter) else POLL

    def may_ask(self, waiter: Waiter) -> bool:
        """Whether it should ask now for its model to be loaded: the first of the line does, once in a while."""
        line, now = self._lines[waiter.model], self._clock()
        if not self._is_first(waiter) or now - line.asked < ASK_SECONDS:
            return False
        line.asked = now
        return True

    def keep(self, model: str, engines: Mapping[str, tuple[str, Hashable]]) -> list[str]:
        """Loaded models that may not be unloaded now to make room for `model`. `engines`: model → state and mark."""
        for other, (state, mark) in engines.items():
            if state == READY:
                self._seen(other, mark)
        lines = {name: line for name, line in self._lines.items() if line.blocked_by}
        front = min(lines, key=lambda name: (self._stands_back(lines[name]), lines[name].oldest()), default=model)
        reserved = lines[front].blocked_by if front != model else frozenset[str]()
        return [
            other
            for other, (state, _) in engines.items()
            if other != model and state not in AT_REST and (other in reserved or not self._may_leave(other, state))
        ]

    def answered(self, model: str, wait_for: list[str]) -> None:
        """What came of asking: the models that have to leave first."""
        if model in self._lines:
            self._lines[model].blocked_by = frozenset(wait_for)

    def news(self) -> list[str]:
        """Models used since the last report, when it is time for the next."""
        now = self._clock()
        if not self._used or now - self._told < TELL_SECONDS:
            return []
        told, self._used, self._told = sorted(self._used), set(), now
        return told

    def lines(self) -> dict[str, int]:
        """How many calls stand in each line."""
        return {model: self.waiting(model) for model in self._lines}

    def waiting(self, model: str) -> int:
        """How many calls stand in line for a model."""
        line = self._lines.get(model)
        return sum(map(len, line.lanes.values())) if line else 0

    def _may_go(self, waiter: Waiter, seat: Seat, batch: int) -> bool:
        if waiter.model in self._lines and not self._is_first(waiter):
            return False
        rivals = self._rivals_of(waiter)
        if not rivals:
            return True
        return len(seat.at_work) < batch and self._has_turn(waiter, seat, rivals, batch)

    def _has_turn(self, waiter: Waiter, seat: Seat, rivals: list[str], batch: int) -> bool:
        waited_before, now = waiter.arrived <= seat.since, self._clock()
        if waited_before and seat.admitted < batch:
            return True
        pressed = any(now - self._lines[rival].oldest() >= self._pressing for rival in rivals)
        return now - seat.since < self._turn and (waited_before or not pressed)

    def _may_leave(self, model: str, state: str) -> bool:
        """Whether a model has no work, and nobody in its line has a right to it before it goes."""
        if state != READY:
            return False
        seat, now = self._seats[model], self._clock()
        if seat.at_work:
            return False
        for head in self._lines[model].heads() if model in self._lines else ():
            rivals = self._rivals_of(head)
            if not rivals or self._has_turn(head, seat, rivals, AHEAD * USUAL_SLOTS):
                return False
        return now - seat.rested >= LINGER_SECONDS or now - seat.since >= self._turn

    def _seen(self, model: str, mark: Hashable) -> Seat:
        """The seat of a model that is ready; its turn begins when it was not the last time."""
        seat = self._seats.setdefault(model, Seat())
        if seat.mark != mark:
            seat.mark, seat.since, seat.admitted = mark, self._clock(), 0
            seat.rested = seat.since
        return seat

    def _rivals(self, model: str) -> list[str]:
        """Models whose line waits for this one to leave."""
        return [name for name, line in self._lines.items() if model in line.blocked_by]

    def _rivals_of(self, waiter: Waiter) -> list[str]:
        """Those of them that this call has to make room for: an interactive one does not for batch calls alone."""
        rivals = self._rivals(waiter.model)
        return rivals if self._yields(waiter) else [one for one in rivals if not self._stands_back(self._lines[one])]

    def _yields(self, waiter: Waiter) -> bool:
        """Whether interactive calls go before it."""
        return waiter.batch and self._clock() - waiter.arrived < self._pressing

    def _stands_back(self, line: Line) -> bool:
        """Whether all who stand in it yield."""
        return all(map(self._yields, line.heads()))

    def _first(self, model: str) -> Waiter | None:
        line = self._lines.get(model)
        if line is None:
            return None
        seat = self._seats.get(model)
        keys = list(seat.at_work.values()) if seat else []
        return min(line.heads(), key=lambda one: (self._yields(one), keys.count(one.key), one.arrived))

    def _is_first(self, waiter: Waiter) -> bool:
        return self._first(waiter.model) is waiter

    def _wake_first(self, model: str) -> None:
        first = self._first(model)
        if first is not None:
            first.wake()
