"""The desk at the door: lets calls in within their key's limits, and writes down what they used.

A call is checked in before any engine hears of it: an estimate is reserved, in the file that all workers share (see
`inference.journal`). It is settled with what it really used before its answer's last byte goes out. When the gateway
is full, calls wait in line: interactive ones until there is a place, batch ones until there is a place beyond those
kept for interactive calls and a free slot at their model, so that they never stand before anybody in an engine's queue.
One that has waited for half of its time needs no free slot, if it is the only such one at its model: some of them are
served however busy it is.
"""

from __future__ import annotations

import itertools
import logging
import math
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

import gevent
from gevent.lock import Semaphore

from appliance.errors import Unavailable
from appliance.settings import GatewaySettings
from inference.counts import ENDED, PROGRESS, RESERVED, Record
from inference.gateway.calls import Call, Ticket
from inference.gateway.chat import CHARACTERS_PER_TOKEN, Prepared
from inference.gateway.faults import ApiError
from inference.gateway.metrics import Metrics
from inference.journal import Alive, Journal
from inference.keys import Key
from inference.limits import UNITS, Left, Need, Priority, Refusal, decide, rates_left, whole_seconds

log = logging.getLogger("inference.gateway")

LOOK_SECONDS = 0.02
"""Pause between two looks of the first in a line."""
REPORT_SECONDS = 0.25
"""Pause between reports of how far calls under way have come: what a killed worker can lose of one."""
ROUNDS_TO_SYNC = 4
GRACE_SECONDS = 60.0
"""Time beyond all time limits after which a call that is still open is taken for lost."""
Slots = Callable[[str], int]
"""From a model to the calls that its engine works on at once."""
CUT_OFF = frozenset({"client_gone", "timeout", "gateway_stopping"})
"""Ends of a call for which its engine has worked in good faith."""


class Desk:
    """Check-in and settlement of all calls of one worker."""

    def __init__(
        self,
        journal: Journal,
        alive: Alive,
        settings: GatewaySettings,
        metrics: Metrics,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._journal = journal
        self._alive = alive
        self._metrics = metrics
        self._clock = clock
        self._patience = settings.queue_seconds
        self._places = {
            Priority.INTERACTIVE: settings.parallel,
            Priority.BATCH: max(1, settings.parallel * settings.batch_percent // 100),
        }
        self._longest = settings.queue_seconds * 2 + settings.request_timeout_seconds + GRACE_SECONDS
        self._numbers = itertools.count(1)
        self._lines: defaultdict[tuple[Priority, str], Semaphore] = defaultdict(lambda: Semaphore(1))
        self._open: dict[str, tuple[Ticket, Call]] = {}
        self._late: list[Record] = []
        """Records that the disk did not take yet."""
        self._forced: dict[str, str] = {}
        """Model → the ticket of the last batch call that went to it without a free slot."""

    def check_in(self, key: Key, call: Call, slots: Slots, context: int | None) -> None:
        """Let a call in, waiting while the gateway is full; `context`, in tokens, is its model's.

        Raises:
            ApiError: 429 when a limit of the key or a full gateway forbids it; 503 when it cannot be counted.
        """
        batch = Priority.BATCH in (key.terms.priority, call.prepared.priority)
        call.priority = Priority.BATCH if batch else Priority.INTERACTIVE
        line = self._lines[call.priority, call.first_choice if batch else ""]
        need = need_of(call.prepared, context)
        try:
            if line.locked() or not self._try(key, call, need, slots):
                self._wait(key, call, need, slots, line)
        except Unavailable as error:
            if key.terms.limits.any:
                raise
            log.error("a call without limits is let in uncounted: %s", error.message)

    def _wait(self, key: Key, call: Call, need: Need, slots: Slots, line: Semaphore) -> None:
        began = time.monotonic()
        until = began + self._patience
        with self._metrics.held.track_inprogress():
            try:
                if not line.acquire(timeout=self._patience):
                    raise full(call.priority)
                try:
                    call.trip.check()
                    while not self._try(key, call, need, slots, time.monotonic() - began >= self._patience / 2):
                        if time.monotonic() >= until:
                            raise full(call.priority)
                        gevent.sleep(LOOK_SECONDS)
                        call.trip.check()
                finally:
                    line.release()
            finally:
                call.away += time.monotonic() - began

    def _try(self, key: Key, call: Call, need: Need, slots: Slots, old: bool = False) -> bool:
        """Reserve what the call may use; False while there is no place. Raises ApiError for a limit of the key.

        `old`: it has waited for long.
        """
        with self._journal.turn() as counts:
            now = self._clock()
            count = counts.key(key.id)
            granted = decide(count, key.terms.limits, need, now)
            if isinstance(granted, Refusal):
                self._metrics.limited.labels(granted.limit).inc()
                raise refused(key, granted)
            if len(counts.open) >= self._places[call.priority]:
                return False
            model = call.first_choice
            no_slot = call.priority is Priority.BATCH and counts.models.get(model, 0) >= slots(model)
            if no_slot and (not old or self._forced.get(model) in self._open):
                return False
            id = f"{self._alive.name}-{next(self._numbers)}"
            self._journal.append(
                [RESERVED, now, id, key.id, model, self._alive.name,
                 granted.prompt + granted.completion, granted.milliseconds]
            )  # fmt: skip
            call.ticket = Ticket(id, granted.prompt, granted.completion, count.pace)
            self._open[id] = call.ticket, call
            if no_slot:
                self._forced[model] = id
        return True

    def settle(self, call: Call, usage: Mapping[str, Any], failure: ApiError | None) -> tuple[int, int]:
        """Write down what a call used; prompt and answer tokens. Safe to call again: the first time counts."""
        ticket = call.ticket
        if ticket is None:
            return reported_tokens(usage)
        if ticket.used is None:
            seconds = time.perf_counter() - call.engine_since if call.engine_since else 0.0
            ticket.used = prompt, completion = used_by(call, ticket, usage, failure, seconds)
            in_vain = failure is not None and failure.code not in CUT_OFF and not completion
            self._write([ENDED, self._clock(), ticket.id, prompt, completion, 0 if in_vain else round(seconds * 1000)])
            self._open.pop(ticket.id, None)
        return ticket.used

    def rates_left(self, key: Key) -> tuple[Left, ...]:
        """What a client is told of its limits with every answer."""
        return rates_left(self._journal.counts.key(key.id), key.terms.limits, self._clock())

    def start(self) -> None:
        """Take over from workers that died, and begin to report."""
        gevent.spawn(self._run)

    def _run(self) -> None:
        for n in itertools.count():
            try:
                self.report()
                if n % ROUNDS_TO_SYNC == 0:
                    self._alive.bury(self._journal, self._clock())
                    self._journal.compact()
                    gevent.get_hub().threadpool.apply(self._journal.sync)
            except (Unavailable, OSError) as error:
                log.error("what keys use cannot be kept up to date: %s", error)
            gevent.sleep(REPORT_SECONDS)

    def report(self) -> None:
        """Note how far the calls under way have come, and what could not be written before."""
        records, self._late = self._late, []
        now = time.perf_counter()
        for ticket, call in list(self._open.values()):
            if now - call.started > self._longest:  # it should have ended long ago: its place is not lost with it
                log.error("call %s was never settled", call.id)
                self.settle(call, {}, ApiError(504, "the call did not end in time", "timeout"))
                continue
            spent = round((now - call.engine_since) * 1000) if call.engine_since else 0
            tokens_told, spent_told = ticket.reported
            if spent and (call.generated != tokens_told or spent >= spent_told + 1000):
                ticket.reported = call.generated, spent
                records.append([PROGRESS, ticket.id, ticket.prompt, call.generated, spent])
        if records:
            self._write(*records)

    def _write(self, *records: Record) -> None:
        """Append, or keep for later: until then a call stays reserved, which never counts too little."""
        try:
            with self._journal.turn():
                self._journal.append(*records)
        except Unavailable as error:
            self._late += [record for record in records if record[0] == ENDED]
            log.error("what a call used is not written yet: %s", error.message)


def used_by(
    call: Call, ticket: Ticket, usage: Mapping[str, Any], failure: ApiError | None, seconds: float
) -> tuple[int, int]:
    """Prompt and answer tokens of a call that is over: what the engine said, else what is known to have been made."""
    told = reported_tokens(usage)
    if any(told):
        return told
    if call.generated:
        return ticket.prompt, call.generated
    if not call.engine_since or (failure is not None and failure.code not in CUT_OFF):
        return 0, 0
    if call.prepared.stream:
        return ticket.prompt, 0
    # A whole answer that nobody got to see: the engine's pace says how long it was, at most what was reserved.
    made = math.ceil(ticket.rate * seconds) if ticket.rate else ticket.completion
    return ticket.prompt, min(made, ticket.completion)


def reported_tokens(usage: Mapping[str, Any]) -> tuple[int, int]:
    """Prompt and answer tokens as the engine reported them."""
    prompt, completion = usage.get("prompt_tokens"), usage.get("completion_tokens")
    return _count(prompt), _count(completion)


def _count(value: object) -> int:
    """Engines are not ours: what is no number counts as nothing told."""
    return max(0, value) if isinstance(value, int) else 0


def need_of(prepared: Prepared, context: int | None) -> Need:
    """What a call may use: of its prompt an estimate, and the longest answer it allows and the model can give."""
    payload = prepared.payload
    if "messages" not in payload and "prompt" not in payload:  # vectors and ranks: no answer, and many prompts
        texts = [text for value in payload.values() if isinstance(value, list) for text in value]
        length = sum(len(text) for text in texts if isinstance(text, str | list))
        return Need(max(prepared.prompt_tokens, length // CHARACTERS_PER_TOKEN), 0)
    limit, many = payload.get("max_tokens"), payload.get("n")
    if limit is None:
        return Need(prepared.prompt_tokens, None)
    if context is not None:
        limit = min(limit, max(1, context - prepared.prompt_tokens))
    return Need(prepared.prompt_tokens, limit * many if isinstance(many, int) and many > 1 else limit)


def refused(key: Key, refusal: Refusal) -> ApiError:
    """429 with which limit it is, how much of it is used, and when to come back."""
    said = f"key {key.name!r} has reached its limit of {UNITS[refusal.limit]}: {refusal.why}"
    wait = None if refusal.wait is None else whole_seconds(refusal.wait)
    if refusal.closed:
        return ApiError(429, said, "insufficient_quota", param=refusal.limit, retry_after=wait, final=True)
    return ApiError(429, said, "rate_limit_exceeded", param=refusal.limit, retry_after=wait, final=wait is None)


def full(priority: Priority) -> ApiError:
    """429: no place came free in time."""
    return ApiError(429, f"the gateway is full, and this {priority} call had no place in time", "gateway_full",
                    retry_after=2 if priority is Priority.INTERACTIVE else 10)  # fmt: skip
