"""Finds a candidate that answers. The only retry loop of the gateway.

For each candidate in the router's order: wait until its engine is ready (asking for it to be loaded) and until it is
this call's turn (see `turns`), send the call, send it again as the rule's retry policy says, then go to the next
candidate. What the engine refuses as wrong (a prompt that is too long, a bad schema) ends the loop at once: no other
try would help. So does the first byte that went out to the client: after it nothing is sent again.

Four scopes: a retry is one call's, to the same model; a fallback is one call's, to the next; a cool-down is one
engine's, for all calls (`cooling`); a breaker is one model's, and refuses (`circuits`).
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import gevent
import orjson
from gevent.event import Event

from appliance.engines_client import EnginesClient
from appliance.errors import FactoryError, LimitExceeded, NotFound, Unavailable, VerificationFailed
from appliance.settings import Settings
from inference.asked import RouteRequest
from inference.gateway.chat import Prepared
from inference.gateway.circuits import Circuits
from inference.gateway.cooling import Cooling
from inference.gateway.episodes import Episode
from inference.gateway.faults import ApiError, from_engine
from inference.gateway.metrics import Metrics
from inference.gateway.surroundings import Row, Surroundings
from inference.gateway.turns import Turns, Waiter
from inference.gateway.upstream import LOST, Answer, Upstream
from inference.gateway.watch import Trip
from inference.limits import Priority
from inference.router import Decision
from inference.rules import BUSY, FAILED, Retry
from inference.rules import LOST as AWAY

RETRY_AFTER = 5
LOOK_SECONDS = 0.1
AGAIN: Mapping[int, str] = {429: BUSY, 503: BUSY, 500: FAILED, 502: FAILED, 504: FAILED}
"""Answers of an engine after which the same call may succeed, and what they are in a rule's retry policy."""

T = TypeVar("T")


@dataclass(slots=True)
class Ticket:
    """What the desk reserved for a call."""

    id: str
    prompt: int
    completion: int
    rate: float
    """Answer tokens a second, as this key's calls have had them; 0 when there were none."""
    reported: tuple[int, int] = (-1, 0)
    """Answer tokens and milliseconds of the last report on the way."""
    used: tuple[int, int] | None = None
    """Prompt and answer tokens, once settled."""


@dataclass
class Call:
    """One call on its way, and what happened to it."""

    id: str
    path: str
    prepared: Prepared
    decision: Decision
    trip: Trip
    about: Mapping[str, str] = field(default_factory=dict)
    """Whose call it is and what for, as the usage line has it."""
    model: str = ""
    """The candidate that is tried now; in the end, the one that answered."""
    pinned: bool = False
    """The client has been told the model, so no other may answer."""
    pending: bool = True
    """No engine has answered yet."""
    attempts: int = 0
    engine_since: float = 0.0
    """When the engine that works on it got it; 0 while none has."""
    generated: int = 0
    """Pieces of a stream that came from the engine: its tokens, as far as they are known before its end."""
    asked: RouteRequest = field(default_factory=RouteRequest)
    """What the router was asked, as the usage line has it."""
    episode: Episode | None = None
    ticket: Ticket | None = None
    """What the desk reserved for it; None when it is not counted."""
    priority: Priority = Priority.INTERACTIVE
    """The lower of what it asks for and what its key has."""
    away: float = 0.0
    """Seconds spent waiting for an engine: to load, to answer, and between two tries."""
    started: float = field(default_factory=time.perf_counter)
    spoke: float = 0.0
    """When the first token of a stream went out, by the same clock; 0 before."""

    @property
    def first_choice(self) -> str:
        """The model it goes to if nothing is in the way."""
        return self.decision.candidates[0]


class Caller:
    """Sends calls to engines."""

    def __init__(
        self,
        surroundings: Surroundings,
        engines: EnginesClient,
        upstream: Upstream,
        metrics: Metrics,
        settings: Settings,
    ) -> None:
        self._surroundings = surroundings
        self._engines = engines
        self._upstream = upstream
        self._metrics = metrics
        self._retry = Retry(times=settings.gateway.retries)
        self._queue_seconds = settings.gateway.queue_seconds
        self.cooling = Cooling(settings.gateway.cooldown_seconds)
        self.circuits = Circuits(settings.gateway.circuit_failures, settings.gateway.circuit_seconds)
        self.turns = Turns(settings.gateway.turn_seconds, settings.gateway.queue_seconds)

    def answer(self, call: Call, read: Callable[[Answer], T]) -> T:
        """What `read` makes of the first good answer. `read` is part of the try: what it loses is tried again.

        Raises:
            ApiError: refused, or no candidate answered.
        """
        patience = call.decision.queue_seconds
        until = time.monotonic() + (self._queue_seconds if patience is None else patience)
        failure: ApiError | None = None
        for model in call.decision.candidates:
            if call.pinned and model != call.model:
                break
            if failure is not None:
                self._metrics.fallbacks.inc()
            call.model = model
            try:
                made = self._ask(call, until, read)
                call.pending = False
                return made
            except ApiError as error:
                if call.trip.ended or (error.status < 500 and error.status != 429):
                    raise
                failure = error
        assert failure is not None, "the decision was required to name candidates"
        raise failure

    def _ask(self, call: Call, until: float, read: Callable[[Answer], T]) -> T:
        """The answer of the call's model, asked as often as the retry policy allows."""
        retry = call.decision.retry or self._retry
        self._let_cool(call, until)
        for attempt in range(retry.times + 1):
            call.engine_since = 0.0
            row = self._ready(call, until)
            if wait := self.circuits.enter(call.model, row.mark):
                raise resting(call.model, wait, self.circuits.open()[call.model].why)
            began = time.monotonic()
            try:
                made = self._once(call, row, read)
                self.circuits.answered(call.model)
                if attempt:  # what this call was told before is over
                    self.cooling.end(call.model)
                return made
            except LOST as error:
                call.trip.check()
                if isinstance(error, ConnectionRefusedError):
                    self._surroundings.suspect(row)
                self._upstream.forget(row.url)
                tried = _Again(lost(call.model, error), AWAY)
            except _Again as error:
                tried = error
            except ApiError:
                self.circuits.answered(call.model)
                raise
            self._note(row, tried, began)
            pause = max(retry.pause_seconds * 2**attempt, tried.after or 0.0)
            if call.pinned or attempt == retry.times or tried.kind not in retry.on or self._in_vain(call, tried, until):
                break
            self._metrics.retries.labels(call.model).inc()
            self._pause(call, pause)
        raise tried.failure

    def _in_vain(self, call: Call, tried: _Again, until: float) -> bool:
        """Whether the engine asked for a rest that is too long to wait for, or need not be waited for."""
        return bool(tried.after) and (time.monotonic() + (tried.after or 0.0) >= until or self._another_is_ready(call))

    def _note(self, row: Row, tried: _Again, began: float) -> None:
        """What the failure of this try means for other calls."""
        if tried.kind == BUSY:
            self.circuits.answered(row.model)
        else:
            self.circuits.failed(row.model, row.mark, tried.failure.message, began)
        if tried.kind in (AWAY, BUSY):
            self.cooling.cool(row.model, row.mark, tried.after)

    def _let_cool(self, call: Call, until: float) -> None:
        """Wait out a cool-down of the call's engine. Raises ApiError (503) when another candidate can answer now."""
        while (row := self._surroundings.engine(call.model)) and (left := self.cooling.left(call.model, row.mark)):
            if self._another_is_ready(call):
                raise unready(call.model, "it is left alone for a moment")
            if time.monotonic() >= until:
                return
            self._pause(call, min(left, LOOK_SECONDS))

    def _once(self, call: Call, row: Row, read: Callable[[Answer], T]) -> T:
        body = call.prepared.for_model(row.served_as)
        token = self._token(row)
        call.attempts += 1
        began = call.engine_since = time.perf_counter()
        try:
            answer = self._upstream.post(row.url, call.prepared.path, body, token, call.trip, row.ca_file)
            try:
                if answer.status == 200:
                    return read(answer)
                failure = from_engine(answer.status, parsed(answer.read()), call.model)
            except BaseException:
                answer.close()
                raise
        finally:
            call.away += time.perf_counter() - began
        if answer.status in AGAIN and failure.status != 400:
            raise _Again(failure, AGAIN[answer.status], answer.retry_after)
        raise failure

    def _token(self, row: Row) -> str:
        try:
            return self._surroundings.token(row)
        except Unavailable as error:
            raise unready(row.model, error.message) from error

    def _ready(self, call: Call, until: float) -> Row:
        """The row of the call's model once its engine is ready. Raises ApiError (503) when it will not be in time."""
        waiter = self.turns.waiter(
            call.id, call.model, call.about.get("key", ""), batch=call.priority is Priority.BATCH
        )
        row = self._surroundings.engine(call.model)
        if row is not None and row.state == "ready" and self.turns.go(waiter, row.mark, row.slots):
            self._tell()
            return row
        began = time.perf_counter()
        look = Event()
        waiter.wake = look.set
        self.turns.wait(waiter)
        try:
            with self._metrics.waiting.track_inprogress():
                return self._wait(call, waiter, look, until)
        finally:
            self.turns.give_up(waiter)
            call.away += time.perf_counter() - began

    def _wait(self, call: Call, waiter: Waiter, look: Event, until: float) -> Row:
        why = "it is not loaded"
        while True:
            call.trip.check()
            row = self._surroundings.engine(call.model)
            if row is not None and row.state == "ready":
                if self.turns.go(waiter, row.mark, row.slots):
                    return row
                why = "others have their turn" if self.turns.waiting(call.model) else why
            elif row is not None and row.parked:
                raise unready(call.model, row.reason or "its engine failed")
            else:
                why = f"it is {row.state} {row.reason}".rstrip() if row is not None else why
                if self.turns.may_ask(waiter):
                    trouble = self._ask_to_load(call.model)
                    why = trouble or why
                    if trouble and self._another_is_ready(call):
                        raise unready(call.model, why)
            if time.monotonic() >= until:
                raise unready(call.model, why)
            look.wait(self.turns.pause(waiter))
            look.clear()

    def _another_is_ready(self, call: Call) -> bool:
        """Whether a candidate after this one could answer now."""
        later = call.decision.candidates[call.decision.candidates.index(call.model) + 1 :]
        return not call.pinned and any(map(self._is_well, later))

    def _is_well(self, model: str) -> bool:
        row = self._surroundings.engine(model)
        if row is None or row.state != "ready":
            return False
        return not self.cooling.left(model, row.mark) and not self.circuits.wait(model, row.mark)

    def warnings(self) -> list[str]:
        """Models that no call is sent to now, in words."""
        return [f"no call is sent to {model} for now: it failed {one.failures} times in a row, last: {one.why}"
                for model, one in self.circuits.open().items()]  # fmt: skip

    def _ask_to_load(self, model: str) -> str:
        """Ask for the model; what is in the way for now, in words. Raises ApiError when waiting is in vain."""
        rows = self._surroundings.engines()
        keep = self.turns.keep(model, {name: (row.state, row.mark) for name, row in rows.items()})
        wait_for: list[str] = []
        try:
            answer = self._engines.load(model, keep=keep)
            wait_for = list(answer.get("wait_for", ()))
            return str(answer.get("reason", "")) if wait_for else ""
        except (NotFound, LimitExceeded, VerificationFailed) as error:
            raise unready(model, f"{error.message} ({error.hint})") from error
        except FactoryError as error:
            if error.__cause__ is None:  # the engines process answered, and said no
                raise unready(model, f"{error.message} ({error.hint})") from error
            return error.message
        finally:
            self.turns.answered(model, wait_for)  # after a refusal, nobody is kept from their turn for it

    def _tell(self) -> None:
        """Now and then, let the engines process know which models are in use."""
        if models := self.turns.news():
            gevent.spawn(self._use, models)

    def _use(self, models: list[str]) -> None:
        with contextlib.suppress(FactoryError):  # told again in a moment; calls find out by themselves
            self._engines.use(models)

    def _pause(self, call: Call, seconds: float) -> None:
        gevent.sleep(seconds)
        call.away += seconds
        call.trip.check()


class _Again(Exception):
    """A try failed in a way that another one may not."""

    def __init__(self, failure: ApiError, kind: str, after: float | None = None) -> None:
        super().__init__(failure.message)
        self.failure = failure
        self.kind = kind
        """What happened, as a rule's retry policy calls it."""
        self.after = after
        """Seconds the engine asked to be left alone for."""


def resting(model: str, wait: float, why: str) -> ApiError:
    """The model failed too often; it is not asked."""
    said = f"the model {model} failed too often and is left alone for {math.ceil(wait)} s (last: {why})"
    return ApiError(503, said, "model_resting", retry_after=math.ceil(wait), final=True)


def unready(model: str, why: str) -> ApiError:
    """The model cannot answer now."""
    return ApiError(
        503, f"the model {model} is not ready: {why}", "model_not_ready", retry_after=RETRY_AFTER, final=True
    )


def lost(model: str, error: BaseException) -> ApiError:
    """The engine went away."""
    said = str(error) or type(error).__name__
    return ApiError(502, f"the engine of {model} went away: {said}", "engine_lost", final=True)


def parsed(body: bytes) -> object:
    """JSON if it is JSON, else the beginning of the text."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return body[:300].decode("utf-8", "replace")
