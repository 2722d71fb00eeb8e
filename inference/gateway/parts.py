"""What every view of the gateway works with, and the account that is settled when a call is over."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gevent
import orjson

from appliance.config import Home
from appliance.engines_client import EnginesClient
from appliance.settings import Settings
from inference.exploring import Explorer, dice_of
from inference.gateway.calls import Call, Caller
from inference.gateway.daily import Daily
from inference.gateway.desk import Desk
from inference.gateway.episodes import Episodes
from inference.gateway.faults import ApiError
from inference.gateway.kept import Kept
from inference.gateway.machine import Machine
from inference.gateway.measure import Measure
from inference.gateway.metrics import Metrics
from inference.gateway.surroundings import Surroundings
from inference.gateway.transcripts import Transcripts
from inference.gateway.upstream import Upstream
from inference.gateway.watch import Watch
from inference.journal import Alive, Journal
from inference.keys import Key

ENGINES_SECONDS = 5.0
"""How long the engines process may take to answer an order; loading itself goes on behind it."""


@dataclass(frozen=True)
class Parts:
    """The parts of one gateway process."""

    settings: Settings
    surroundings: Surroundings
    caller: Caller
    watch: Watch
    metrics: Metrics
    usage: Daily
    """One line for every call: who, what, how long, how many tokens. Never what was said."""
    transcripts: Transcripts
    kept: Kept
    measure: Measure
    desk: Desk
    episodes: Episodes
    explorer: Explorer

    @classmethod
    def of(cls, home: Home, settings: Settings) -> Parts:
        """The real ones."""
        metrics = Metrics()
        surroundings = Surroundings(home, settings, metrics.rules_refused.inc)
        upstream = Upstream(settings.gateway.request_timeout_seconds)
        caller = Caller(surroundings, EnginesClient(home, timeout=ENGINES_SECONDS), upstream, metrics, settings)
        files = home.run / "engines.json", home.run / "devices.json"
        metrics.registry.register(Machine(*files, caller.turns.lines))
        watch = Watch(settings.gateway.request_timeout_seconds, settings.gateway.drain_seconds)
        kept = Kept(settings.gateway.responses_kept)
        measure = Measure(surroundings, upstream)
        desk = Desk(Journal(home.spool, gevent.sleep), Alive(home.run), settings.gateway, metrics)
        episodes = Episodes(settings.gateway.episodes_kept)
        metrics.cooling.set_function(lambda: float(caller.cooling.count()))
        metrics.circuits_open.set_function(lambda: float(len(caller.circuits.open())))
        metrics.rules_stale.set_function(lambda: float(surroundings.stale))
        metrics.policy_in_use.set_function(lambda: float(surroundings.learned.policy is not None))
        usage = Daily(home.spool, "usage")
        transcripts = Transcripts(home.spool, settings.gateway.transcript_days)
        return cls(
            settings, surroundings, caller, watch, metrics, usage, transcripts, kept, measure, desk, episodes,
            Explorer(settings.gateway.explore_share, dice_of(settings.gateway.explore_seed)),
        )  # fmt: skip

    @property
    def in_flight(self) -> int:
        """Calls in flight."""
        return self.watch.in_flight

    def check_in(self, key: Key, call: Call) -> None:
        """The call begins, if its key's limits and the gateway's places allow it. Raises ApiError (429, 503)."""
        try:
            entry = self.surroundings.card(call.first_choice)
            self.desk.check_in(key, call, self._slots, entry.context_tokens if entry else None)
        except BaseException as error:
            self.watch.leave(call.trip)
            if isinstance(error, ApiError):
                self.metrics.errors.labels(call.path, error.code).inc()
            raise
        self.metrics.in_flight.inc()

    def _slots(self, model: str) -> int:
        """Calls that a model's engine works on at once."""
        row = self.surroundings.engine(model)
        return row.slots if row and row.slots else self.settings.engines.slots

    def first_byte(self, call: Call) -> None:
        """The answer begins: note how long that took, and how much of it was our own doing."""
        passed = time.perf_counter() - call.started
        self.metrics.first_byte.labels(call.path).observe(passed)
        if not call.pending:  # else the time spent waiting is not known yet
            self.metrics.overhead.labels(call.path).observe(max(0.0, passed - call.away))

    def first_token(self, call: Call) -> None:
        """A stream says its first word: note how long the client waited for it."""
        call.spoke = time.perf_counter()
        self._served(call)  # the next call of its episode may be there before this one is over
        self.metrics.first_token.labels(call.model).observe(call.spoke - call.started)

    def _served(self, call: Call) -> None:
        if call.episode:
            self.episodes.served(call.episode, call.model)

    def settle(self, call: Call, usage: Mapping[str, Any], failure: ApiError | None, answer: Any = None) -> None:
        """The call is over: free its place, count it, write its line; and its transcript, if those are kept."""
        self.watch.leave(call.trip)
        self.caller.turns.leave(call.id)
        self.metrics.in_flight.dec()
        now = time.perf_counter()
        seconds = now - call.started
        self.metrics.seconds.labels(call.path).observe(seconds)
        tokens = dict(zip(("prompt", "completion"), self.desk.settle(call, usage, failure), strict=True))
        for kind, count in tokens.items():
            self.metrics.tokens.labels(call.model or "none", kind).inc(count)
        if call.spoke and failure is None and tokens["completion"] > 1:
            self.metrics.per_token.labels(call.model).observe((now - call.spoke) / (tokens["completion"] - 1))
        if failure is not None:
            self.metrics.errors.labels(call.path, failure.code).inc()
        if failure is None:
            self._served(call)
        who = {"id": call.id, "endpoint": call.path, **call.about, "model": call.model}
        status = failure.status if failure else 200
        if self.transcripts.on:
            self.transcripts.keep({**who, "status": status}, call.prepared.payload, answer)
        entry = self.surroundings.card(call.model) if call.model else None
        row = self.surroundings.engine(call.model) if call.model else None
        written = self.usage.append(
            {
                **who,
                "digest": entry.sha256[:12] if entry else "", "attempts": call.attempts,
                "stream": call.prepared.stream, "priority": call.priority, "prompt_tokens": tokens["prompt"],
                "completion_tokens": tokens["completion"], "seconds": round(seconds, 4),
                "waited_seconds": round(call.away, 4),
                "first_token_seconds": round(call.spoke - call.started, 4) if call.spoke else None,
                "status": status,
                "error": failure.code if failure else "", "engine": row.engine if row else "",
                "quantisation": entry.quantisation if entry else "", **choice_of(call),
            }
        )  # fmt: skip
        if not written:
            self.metrics.unrecorded.inc()


def choice_of(call: Call) -> dict[str, Any]:
    """The router's choice, as a usage line tells it: what it was asked, what it answered, and why."""
    decision = call.decision
    return {
        "rule": decision.rule, "asked": call.asked.facts(), "candidates": decision.candidates,
        "objective": decision.objective.model_dump(), "policy": decision.policy,
        "policy_version": decision.policy_version, "propensity": decision.propensity, "explored": decision.explored,
        "suggested": decision.suggested[0] if decision.suggested else "",
        "episode": call.episode[1] if call.episode else "", "prompt_digest": prompt_digest(call.prepared.payload),
    }  # fmt: skip


ASKED = ("messages", "prompt", "input", "query", "documents", "tools")
"""What of a call is its prompt."""


def prompt_digest(payload: Mapping[str, Any]) -> str:
    """SHA-256 (hex) of what was asked: the same for the same prompt, and it tells nothing else of it."""
    return hashlib.sha256(orjson.dumps({name: payload.get(name) for name in ASKED})).hexdigest()
