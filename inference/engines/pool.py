"""The loaded models: each a supervised engine with a port, a key, its share of the threads and its place in memory.

A model that does not fit beside the others is loaded once others have left or fallen asleep (see `placement`, `naps`):
they finish the answers in flight, the order waits for them. The same holds for a model that sleeps and is wanted again,
and for one that starts anew with an adapter that came later: it goes on serving until there is room. Whoever gives an
order may name models to be kept for now, because they are at work; then nothing is done, and the answer names those
that are in the way.
"""

from __future__ import annotations

import json
import os
import secrets
import threading
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from appliance.config import Home
from appliance.errors import Conflict, FactoryError, LimitExceeded, NotFound
from appliance.ports import Clock, SystemClock
from appliance.settings import Settings
from inference.engines.adapters import adapter_row, adapters_of, bases_of, serves, with_adapters
from inference.engines.devices import Room, read_room
from inference.engines.engine import Engine, Seat
from inference.engines.loaded import Loaded, Order, may_fall_asleep, nobody_uses
from inference.engines.naps import Naps
from inference.engines.openings import free_port, write_key, write_private
from inference.engines.placement import Place, Plan, may_rest, share_threads
from inference.engines.planning import plan_for
from inference.engines.process import DRAIN_SECONDS, patience_with, process_of
from inference.engines.rows import empty_row, full_row
from inference.engines.seating import AS_SET, Candidate, Look, Options, Seating
from inference.engines.tending import tending
from inference.engines.usage import log_lines, use_of
from inference.lifecycle import Phase
from inference.supervisor import Status, Stop, Supervisor
from models.card import Card
from models.registry import Registry

WAITING = "waiting"
"""State in the answer to an order for a model whose place is taken by models that are kept."""


class Pool:
    """Loads and unloads models. `load`, `unload`, `use` and `rows` may be called from any thread; `run` blocks."""

    def __init__(
        self,
        home: Home,
        settings: Settings,
        kinds: Sequence[Engine],
        clock: Clock | None = None,
        look: Look = read_room,
    ) -> None:
        self._home = home
        self._settings = settings.engines
        self._clock = clock or SystemClock()
        self._look = look
        self._registry = Registry(home.models)
        self._supervisor = Supervisor(clock, self._changed)
        self._loaded: dict[str, Loaded] = {}
        self._orders: dict[str, Order] = {}
        self._refused: dict[str, str] = {}
        self._lock = threading.RLock()
        self._naps = Naps(self._lock, self, DRAIN_SECONDS, self._clock)
        self._budget = self._settings.threads or len(os.sched_getaffinity(0))
        self.published = home.run / "engines.json"
        self.devices = home.run / "devices.json"
        self.scratch = home.run / "engines"
        self._seating = Seating(self._registry, settings, kinds, self.scratch)

    def run(self, stop: Stop) -> None:
        """Supervise until `stop` is set, then end all engines."""
        self.publish()
        try:
            with tending(self, self._look, self._registry.generation):
                self._supervisor.run(stop)
        finally:
            with self._lock:
                for loaded in self._loaded.values():
                    loaded.unloading = True  # what comes of its nap is nothing to anybody now
                    loaded.seat.key_file.unlink(missing_ok=True)
                for all_of in (self._loaded, self._orders, self._refused):
                    all_of.clear()
            self.publish()

    def sweep(self) -> None:
        """Remove the keys and rows a killed engines process left; its engines died with it."""
        for left in self.scratch.glob("*.key"):
            left.unlink(missing_ok=True)
        self.publish()

    def preload(self) -> None:
        """Load what the settings name. A model that cannot be loaded is shown as failed; the others still are."""
        for name in self._settings.preload:
            try:
                row = self.load(name, keep=tuple(self._loaded))
                if row["state"] == WAITING:
                    self._refused[name] = row["reason"]
            except FactoryError as error:
                self._refused[name] = f"{error.message}. {error.hint}"

    def load(
        self, name: str, again: bool = False, options: Options = AS_SET, keep: Collection[str] = ()
    ) -> dict[str, Any]:
        """Start serving a model (id or alias); returns its row at once, mostly `starting`.

        A model that is loaded stays as it is, also a failed one, unless `again` asks for a new try. Others may have to
        leave first; when all that would be enough are in `keep`, nothing happens and the row says `waiting`, and for
        whom in `wait_for`.

        Raises:
            NotFound: no such model.
            Unavailable: no installed engine serves its format.
            VerificationFailed: its weights are not what the card says.
            LimitExceeded: it does not fit into memory, whoever leaves.
            Conflict: it is loaded with other options.
            UsageError: its engine cannot serve a model so.
        """
        card = self._registry.find(name)
        with self._lock:
            for known in {name, card.id}:
                self._refused.pop(known, None)
            keep = bases_of(keep, self._seats())
            ask = self._load_adapter if card.base else self._load
            row = ask(card, again, options, keep)
        self.publish()
        return row

    def unload(self, name: str) -> dict[str, Any]:
        """Stop serving a model; returns its row at once, mostly `draining`. Raises NotFound when it is not loaded."""
        with self._lock:
            known = name in self._loaded or name in self._orders
            card = self._registry.find(name) if not known else None
            id = card.id if card else name
            if card and card.base:
                raise Conflict(f"{id} is served with {card.base}", f"`appliance model unload {card.base}`")
            order = self._orders.pop(id, None)
            if order and id not in self._loaded:
                return empty_row(id, Phase.STOPPED, "it was not loaded yet")
            if id not in self._loaded:
                raise NotFound(f"the model {id} is not loaded", "`appliance model list` shows what is")
            return self._leave(id)

    def use(self, models: Collection[str]) -> None:
        """Somebody used these models just now, so they are not idle."""
        now = self._clock.monotonic()
        with self._lock:
            for id in bases_of(models, self._seats()):
                if id in self._loaded:
                    self._loaded[id].used = now

    def look(self, name: str) -> dict[str, Any]:
        """The row of a model (id or alias), what its engine takes now, and the end of its log; takes a moment.

        Raises NotFound when it is not loaded.
        """
        card = self._registry.find(name)
        row = next((row for row in self.rows() if row["model"] == card.id), None)
        if row is None:
            raise NotFound(f"the model {card.id} is not loaded", f"`appliance model load {card.id}`")
        return {**row, "use": use_of(row["pid"]), "log": log_lines(self._log_of(card.base or card.id))}

    def seat(self, id: str) -> Seat:
        """How a loaded model is served now. Raises NotFound."""
        with self._lock:
            if id not in self._loaded:
                raise NotFound(f"the model {id} is not loaded", f"`appliance model load {id}`")
            return self._loaded[id].seat

    def rows(self) -> list[dict[str, Any]]:
        """What runs, as published; no model twice."""
        with self._lock:
            rows = [self._row(status) for status in self._supervisor.statuses() if status.name in self._loaded]
            rows = with_adapters(rows, self._seats(), self._registry)
            rows += [self._order_row(order) for order in self._orders.values() if order.asked not in self._loaded]
            listed = {row["model"] for row in rows}
            refused = [(name, reason) for name, reason in self._refused.items() if name not in listed]
        return rows + [empty_row(name, Phase.FAILED, reason) for name, reason in refused]

    def slept(self, loaded: Loaded, well: bool) -> None:
        """See `naps.Watcher`: its place is free for whoever waits; or it is unloaded, because it cannot sleep."""
        if well:
            loaded.makes_room_for = ""
            self._carry_out(loaded.id)
        else:
            self._leave(loaded.id)
        self.publish()

    def woke(self, loaded: Loaded, well: bool) -> None:
        """See `naps.Watcher`: it serves again; or it starts anew in the place that it was given."""
        if not well:
            self._supervisor.renew(loaded.id)
        self.publish()

    def _seats(self) -> list[Seat]:
        return [loaded.seat for loaded in self._loaded.values()]

    def _load(self, card: Card, again: bool, options: Options, keep: Collection[str]) -> dict[str, Any]:
        known = self._loaded.get(card.id)
        if known is not None and not known.makes_room_for:
            return self._keep_loaded(known, again, options, keep)
        if known is not None:
            return self._row(self._supervisor.status(card.id))
        if order := self._orders.get(card.id):
            return self._order_row(order)
        return self._order(self._seating.candidate(card, options), keep)

    def _load_adapter(self, card: Card, again: bool, options: Options, keep: Collection[str]) -> dict[str, Any]:
        """Load its base; when that is served without it, because it came later, the base starts anew with it."""
        row = self._load(self._registry.get(card.base), again, options, keep)
        known, order = self._loaded.get(card.base), self._orders.get(card.base)
        stays = known is not None and not known.makes_room_for and not known.unloading
        if known is not None and stays and not serves(known.seat, card):
            own = known.seat
            options = Options(own.context_tokens, own.slots, known.pinned)
            if order:
                row = self._order_row(order)
            else:
                row = self._order(self._seating.candidate(own.card, options), keep, card.id)
        return adapter_row(row, card.id, card.base)

    def _keep_loaded(self, known: Loaded, again: bool, options: Options, keep: Collection[str]) -> dict[str, Any]:
        """A model that is loaded: unchanged, pinned or not pinned any longer, tried again, called back, or woken."""
        seat = known.seat
        if options.context_tokens not in (0, seat.context_tokens) or options.slots not in (0, seat.slots):
            raise Conflict(
                f"{seat.card.id} is loaded with {seat.slots} requests of {seat.context_tokens} tokens",
                f"`appliance model unload {seat.card.id}` first",
            )
        known.pinned = known.pinned if options.pin is None else options.pin
        status = self._supervisor.status(known.id)
        if known.asleep and not known.unloading and known.id not in self._orders:
            return self._order(known.candidate, keep)
        if (known.unloading and known.nap is None) or (again and status.state is Phase.FAILED):
            known.unloading = False
            self._supervisor.start(known.id)
        return self._row(self._supervisor.status(known.id))

    def _order(self, candidate: Candidate, keep: Collection[str], asked: str = "") -> dict[str, Any]:
        """Load it now (or wake it, or start it anew), or make others leave first, or say who is in the way."""
        id = candidate.card.id
        room, plan = self._plan(candidate, keep)
        if not plan.fit.fits:
            raise LimitExceeded(
                f"with {asked}, {plan.fit.reason}" if asked else plan.fit.reason,
                f"see `appliance model show {id}`; lower its context or slots, or unpin others",
            )
        if plan.wait_for:
            # Calls for an adapter keep its base at work, so they have to wait for their turn as the base's own do.
            adapters = [name for other in plan.wait_for for name, *_ in self._loaded[other].seat.adapters]
            reason = f"waits for the place of {', '.join(plan.wait_for)}"
            return {**empty_row(asked or id, WAITING, reason), "wait_for": [*plan.wait_for, *adapters]}
        if not plan.leave and not plan.rest:
            self._enter(candidate, plan.fit.place, room)
            return self._row(self._supervisor.status(id))
        order = self._orders[id] = Order(candidate, plan.fit.place, {*plan.leave, *plan.rest}, asked or id)
        for other in order.leaving:
            self._loaded[other].makes_room_for = id
        for other in plan.leave:
            self._leave(other)
        for other in plan.rest:
            self._naps.sleep(self._loaded[other])
        return self._order_row(order)

    def _leave(self, id: str) -> dict[str, Any]:
        self._loaded[id].unloading = True
        self._supervisor.stop(id)
        return self._row(self._supervisor.status(id))

    def _plan(self, candidate: Candidate, keep: Collection[str] = ()) -> tuple[Room, Plan]:
        states = {status.name: status for status in self._supervisor.statuses()}
        loaded = {id: (one, states[id]) for id, one in self._loaded.items()}
        return plan_for(candidate, self._look(), loaded, self._orders, keep, self._clock.monotonic())

    def _enter(self, candidate: Candidate, place: Place, room: Room) -> None:
        """There is room for it now."""
        own = self._loaded.get(candidate.card.id)
        if own is None:
            self._take_place(candidate, place, room)
        elif own.asleep and own.candidate is candidate and own.nap is not None and own.nap.full == place:
            self._naps.wake(own)
        else:
            self._start_anew(own, candidate, place, room)

    def _take_place(self, candidate: Candidate, place: Place, room: Room) -> None:
        id = candidate.card.id
        key = candidate.engine.key(candidate.card) or secrets.token_urlsafe(32)
        file = write_key(self.scratch, id, key)
        seat = replace(candidate.seated(place, room), port=free_port(), key=key, key_file=file)
        loaded = self._loaded[id] = Loaded(candidate, seat, place, candidate.pinned, self._clock.monotonic())
        self._share_out()
        patience = patience_with(loaded.engine, self._settings)
        self._supervisor.add(process_of(loaded, lambda: self._command(loaded), self._log_of(id), patience))
        self._supervisor.start(id)

    def _start_anew(self, own: Loaded, candidate: Candidate, place: Place, room: Room) -> None:
        """It ends what it works on, then starts in this place, with the adapters that were measured for it."""
        before = own.seat
        own.holds, own.nap = own.nap.small if own.nap else own.place, None
        own.candidate, own.place = candidate, place
        seat = candidate.seated(place, room)
        own.seat = replace(seat, port=before.port, key=before.key, key_file=before.key_file, threads=before.threads)
        self._supervisor.renew(own.id)

    def _command(self, loaded: Loaded) -> Sequence[str]:
        # The lock, because threads shared out anew at this moment must be seen either here or by `_share_out`.
        with self._lock:
            loaded.seat = loaded.next_seat(adapters_of(self._registry, loaded.seat.card))
            loaded.holds = None
            return loaded.engine.argv(loaded.seat) or ()

    def _log_of(self, id: str) -> Path:
        return self._home.logs / f"engine-{id}.log"

    def _share_out(self) -> None:
        """Give every engine its threads: one that runs with more starts anew, others at their next start."""
        local = [loaded.seat.card for loaded in self._loaded.values() if loaded.engine.local]
        shares = share_threads(local, self._budget)
        for id, loaded in self._loaded.items():
            loaded.threads = shares.get(id, 0)
            # What computes on GPUs loses minutes by starting anew and gains nothing.
            if loaded.threads < loaded.seat.threads and not loaded.place.gpus:
                self._supervisor.renew(id)

    def _changed(self) -> None:
        with self._lock:
            for status in self._supervisor.statuses():
                if loaded := self._loaded.get(status.name):
                    self._see(loaded, status)
        self.publish()

    def _see(self, loaded: Loaded, status: Status) -> None:
        """What a change of its process means."""
        if loaded.unloading and status.state is Phase.STOPPED:
            self._supervisor.remove(loaded.id)
            loaded.seat.key_file.unlink(missing_ok=True)
            del self._loaded[loaded.id]
            self._share_out()
            self._carry_out(loaded.id)
        elif loaded.nap and status.state is Phase.FAILED and not loaded.unloading:
            if loaded.nap.state == Phase.STARTING:  # somebody wants it: it starts anew by itself
                loaded.nap = loaded.holds = None
            else:
                self._leave(loaded.id)

    def _carry_out(self, gone: str) -> None:
        """Load what waited for this model to leave, once nobody else is waited for."""
        for id, order in list(self._orders.items()):
            order.leaving.discard(gone)
            if order.leaving:
                continue
            del self._orders[id]
            room, plan = self._plan(order.candidate, tuple(self._loaded))
            if plan.fit.fits and not plan.goes:
                self._enter(order.candidate, plan.fit.place, room)
            else:
                self._refused[order.asked] = f"others have left, but somebody took their place: {plan.fit.reason}"

    def idle(self) -> list[str]:
        """Models that nobody has used, or woken, for as long as their settings say, and that do no work now."""
        with self._lock:
            idle = [one for one in self._loaded.values() if self._unused(one)]
        return [one.id for one in idle if one.asleep or not one.engine.busy(one.seat)]

    def retire(self, id: str) -> None:
        """Nobody uses it: it sleeps where its engine can and RAM has room for its weights, else it is unloaded."""
        with self._lock:
            loaded = self._loaded.get(id)
            if loaded and self._unused(loaded):  # and nobody was quicker
                may = may_fall_asleep(loaded, self._supervisor.status(id))
                small = loaded.candidate.asleep(loaded.place) if may else None
                if small and may_rest(small, self._plan(loaded.candidate)[0]):
                    self._naps.sleep(loaded)
                else:
                    self._leave(id)
        self.publish()

    def _unused(self, loaded: Loaded) -> bool:
        now, status = self._clock.monotonic(), self._supervisor.status(loaded.id)
        return loaded.id not in self._orders and nobody_uses(loaded, status, now)

    def _row(self, status: Status) -> dict[str, Any]:
        loaded = self._loaded[status.name]
        patience = patience_with(loaded.engine, self._settings)
        return full_row(loaded, status, self._orders.get(loaded.id), patience.start_seconds)

    def _order_row(self, order: Order) -> dict[str, Any]:
        if order.asked in self._loaded:
            return self._row(self._supervisor.status(order.asked))
        row = empty_row(order.asked, Phase.STOPPED, order.reason)
        return {**row, "start_seconds": patience_with(order.candidate.engine, self._settings).start_seconds}

    def publish(self) -> None:
        """Write the rows to where other processes read them."""
        with self._lock:
            write_private(self.published, json.dumps(self.rows(), indent=1) + "\n")
