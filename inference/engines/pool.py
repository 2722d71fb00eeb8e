"""The loaded models: each a supervised engine with a port, a key, its share of the threads and its place in memory.

A model that does not fit beside the others is loaded once others have left (see `placement`): they finish the answers
in flight, the order waits for them. Whoever gives an order may name models to be kept for now, because they are at
work; then nothing is done, and the answer names those that are in the way.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import threading
from collections.abc import Collection, Sequence
from dataclasses import asdict, replace
from itertools import count
from pathlib import Path
from typing import Any

from appliance.config import Home, Settings
from appliance.errors import Conflict, FactoryError, LimitExceeded, NotFound
from appliance.ports import Clock, SystemClock
from inference.engines.adapters import adapter_row, adapters_of, bases_of, with_adapters
from inference.engines.devices import Room, private_bytes, read_room
from inference.engines.engine import Engine, Seat
from inference.engines.loaded import Loaded, Order, resident
from inference.engines.openings import free_port, port_is_free, write_private
from inference.engines.placement import Claim, Place, Plan, make_room, share_threads, unclaimed
from inference.engines.rows import empty_row, full_row
from inference.engines.seating import AS_SET, Candidate, Look, Options, Seating
from inference.engines.usage import log_lines, use_of
from inference.lifecycle import Patience, Phase
from inference.supervisor import ProcessSpec, Status, Stop, Supervisor
from models.card import Card
from models.registry import Registry

DRAIN_SECONDS = 30.0
"""For requests in flight when a model is unloaded or starts anew with other threads. New ones wait at the gateway."""
STOP_SECONDS = 3.0
"""An engine without work ends at once; llama-server told to end in mid-answer stops answering, and does not end."""
TEND_SECONDS = 1.0
"""Pause between looks for models that nobody has used for long."""
LOOKS = 5
"""So many of these looks apart is what is free told anew: nvidia-smi takes a moment."""
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
        self._budget = self._settings.threads or len(os.sched_getaffinity(0))
        self.published = home.run / "engines.json"
        self.devices = home.run / "devices.json"
        self.scratch = home.run / "engines"
        self._seating = Seating(self._registry, settings, kinds, self.scratch)

    def run(self, stop: Stop) -> None:
        """Supervise until `stop` is set, then end all engines."""
        self._publish()
        over = threading.Event()
        tender = threading.Thread(target=self._tend_until, args=(over,), name="tend", daemon=True)
        tender.start()
        try:
            self._supervisor.run(stop)
        finally:
            over.set()
            tender.join()
            for loaded in self._loaded.values():
                loaded.seat.key_file.unlink(missing_ok=True)
            self._loaded.clear()
            self._orders.clear()
            self._refused.clear()
            self._publish()

    def sweep(self) -> None:
        """Remove the keys and rows a killed engines process left; its engines died with it."""
        for left in self.scratch.glob("*.key"):
            left.unlink(missing_ok=True)
        self._publish()

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
        if card.base:
            return self._load_adapter(card, again, options, keep)
        with self._lock:
            self._refused.pop(name, None)
            keep = bases_of(keep, self._seats())
            known = self._loaded.get(card.id)
            if known is not None and not known.makes_room_for:
                row = self._keep_loaded(known, again, options)
            elif known is not None or card.id in self._orders:
                row = self._order_row(card)
            else:
                row = self._order(self._seating.candidate(card, options), keep)
        self._publish()
        return row

    def unload(self, name: str) -> dict[str, Any]:
        """Stop serving a model; returns its row at once, mostly `draining`. Raises NotFound when it is not loaded."""
        with self._lock:
            known = name in self._loaded or name in self._orders
            card = self._registry.find(name) if not known else None
            id = card.id if card else name
            if card and card.base:
                raise Conflict(f"{id} is served with {card.base}", f"`appliance model unload {card.base}`")
            if order := self._orders.pop(id, None):
                return empty_row(order.candidate.card.id, Phase.STOPPED, "it was not loaded yet")
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
        """What runs, as published."""
        with self._lock:
            rows = [self._row(status) for status in self._supervisor.statuses() if status.name in self._loaded]
            rows = with_adapters(rows, self._seats())
            rows += [self._order_row(order.candidate.card) for id, order in self._orders.items()]
            refused = [empty_row(name, Phase.FAILED, reason) for name, reason in self._refused.items()]
        return rows + refused

    def _seats(self) -> list[Seat]:
        return [loaded.seat for loaded in self._loaded.values()]

    def _load_adapter(self, card: Card, again: bool, options: Options, keep: Collection[str]) -> dict[str, Any]:
        """Load its base; when that is served without it, because it came later, the base starts anew with it."""
        row = self.load(card.base, again, options, keep)
        with self._lock:
            loaded = self._loaded.get(card.base)
            new = loaded is not None and bool(loaded.seat.threads) and card.id not in dict(loaded.seat.adapters)
            if loaded is not None and new:
                loaded.seat = replace(loaded.seat, adapters=adapters_of(self._registry, loaded.seat.card))
                self._supervisor.renew(card.base)
                row = self._row(self._supervisor.status(card.base))
        self._publish()
        return adapter_row(row, card.id)

    def _keep_loaded(self, known: Loaded, again: bool, options: Options) -> dict[str, Any]:
        """A model that is loaded: unchanged, pinned or not pinned any longer, tried again, or called back."""
        seat = known.seat
        if options.context_tokens not in (0, seat.context_tokens) or options.slots not in (0, seat.slots):
            raise Conflict(
                f"{seat.card.id} is loaded with {seat.slots} requests of {seat.context_tokens} tokens",
                f"`appliance model unload {seat.card.id}` first",
            )
        known.pinned = known.pinned if options.pin is None else options.pin
        status = self._supervisor.status(seat.card.id)
        if known.unloading or (again and status.state is Phase.FAILED):
            known.unloading = False
            self._supervisor.start(seat.card.id)
        return self._row(self._supervisor.status(seat.card.id))

    def _order(self, candidate: Candidate, keep: Collection[str]) -> dict[str, Any]:
        """Load it now, or make others leave and load it then, or say who is in the way."""
        id = candidate.card.id
        room, plan = self._plan(candidate, keep)
        if not plan.fit.fits:
            raise LimitExceeded(
                plan.fit.reason, f"see `appliance model show {id}`; lower its context or slots, or unpin others"
            )
        if plan.wait_for:
            # Calls for an adapter keep its base at work, so they have to wait for their turn as the base's own do.
            adapters = [name for other in plan.wait_for for name, _ in self._loaded[other].seat.adapters]
            reason = f"waits for the place of {', '.join(plan.wait_for)}"
            return {**empty_row(id, WAITING, reason), "wait_for": [*plan.wait_for, *adapters]}
        if not plan.leave:
            self._take_place(candidate, plan.fit.place, room)
            return self._row(self._supervisor.status(id))
        self._orders[id] = Order(candidate, plan.fit.place, set(plan.leave))
        for other in plan.leave:
            self._leave(other)
            self._loaded[other].makes_room_for = id
        return self._order_row(candidate.card)

    def _leave(self, id: str) -> dict[str, Any]:
        self._loaded[id].unloading = True
        self._supervisor.stop(id)
        return self._row(self._supervisor.status(id))

    def _plan(self, candidate: Candidate, keep: Collection[str] = ()) -> tuple[Room, Plan]:
        states = {status.name: status for status in self._supervisor.statuses()}
        claims, residents, now = [], [], self._clock.monotonic()
        for id, loaded in self._loaded.items():
            dead = states[id].state is Phase.FAILED and states[id].next_try is None
            if not dead:
                ready = states[id].state in (Phase.READY, Phase.DRAINING)
                claims.append(Claim(loaded.place, private_bytes(states[id].pid), ready))
            if not loaded.unloading:
                residents.append(resident(loaded, now, dead, id in keep))
        claims += [Claim(order.place) for order in self._orders.values()]
        room = unclaimed(self._look(), claims)
        group = candidate.settings.group
        return room, make_room(candidate.card.id, group, candidate.fit, room, residents)

    def _take_place(self, candidate: Candidate, place: Place, room: Room) -> None:
        id = candidate.card.id
        key = candidate.engine.key(candidate.card) or secrets.token_urlsafe(32)
        seat = replace(candidate.seated(place, room), port=free_port(), key=key, key_file=self._write_key(id, key))
        self._loaded[id] = Loaded(candidate, seat, place, candidate.pinned, self._clock.monotonic())
        self._share_out()
        self._supervisor.add(self._spec(id))
        self._supervisor.start(id)

    def _spec(self, id: str) -> ProcessSpec:
        loaded = self._loaded[id]

        def argv() -> Sequence[str]:
            # Each start may need another port: somebody may have taken ours in between. The lock, because threads
            # shared out anew at this moment must be seen either here or by `_share_out`.
            with self._lock:
                port = loaded.seat.port if port_is_free(loaded.seat.port) else free_port()
                served = adapters_of(self._registry, loaded.seat.card)
                loaded.seat = replace(loaded.seat, port=port, threads=loaded.threads, adapters=served)
                return loaded.engine.argv(loaded.seat) or ()

        return ProcessSpec(
            name=id,
            argv=argv if loaded.engine.local else None,
            log=self._log_of(id),
            probe=lambda: loaded.engine.answers(loaded.seat),
            env=lambda: loaded.engine.env(loaded.seat),
            busy=lambda: loaded.engine.busy(loaded.seat),
            alive=lambda: loaded.engine.alive(loaded.seat),
            explain=loaded.engine.explain,
            telling=loaded.engine.telling,
            death_signal=loaded.engine.death_signal,
            patience=self._patience(loaded.engine),
        )

    def _patience(self, engine: Engine) -> Patience:
        usual = Patience(
            start_seconds=self._settings.start_seconds,
            drain_seconds=DRAIN_SECONDS,
            stop_seconds=STOP_SECONDS,
            restart_limit=self._settings.restart_limit,
        )
        return engine.patience(usual)

    def _log_of(self, id: str) -> Path:
        return self._home.logs / f"engine-{id}.log"

    def _share_out(self) -> None:
        """Give every engine its threads: one that runs with more starts anew, others at their next start."""
        local = [loaded.seat.card for loaded in self._loaded.values() if loaded.engine.local]
        shares = share_threads(local, self._budget)
        for id, loaded in self._loaded.items():
            loaded.threads = shares.get(id, 0)
            if loaded.threads < loaded.seat.threads:
                self._supervisor.renew(id)

    def _changed(self) -> None:
        with self._lock:
            for status in self._supervisor.statuses():
                loaded = self._loaded.get(status.name)
                if loaded and loaded.unloading and status.state is Phase.STOPPED:
                    self._supervisor.remove(status.name)
                    loaded.seat.key_file.unlink(missing_ok=True)
                    del self._loaded[status.name]
                    self._share_out()
                    self._carry_out(status.name)
        self._publish()

    def _carry_out(self, gone: str) -> None:
        """Load what waited for this model to leave, once nobody else is waited for."""
        for id, order in list(self._orders.items()):
            order.leaving.discard(gone)
            if order.leaving:
                continue
            del self._orders[id]
            room, plan = self._plan(order.candidate, tuple(self._loaded))
            if plan.fit.fits and not plan.leave:
                self._take_place(order.candidate, plan.fit.place, room)
            else:
                self._refused[id] = f"others have left, but somebody took their place: {plan.fit.reason}"

    def _tend_until(self, over: threading.Event) -> None:
        for n in count():
            if n % LOOKS == 0:
                with contextlib.suppress(OSError):  # a full disk: told again later
                    write_private(self.devices, json.dumps(asdict(self._look())) + "\n")
            if over.wait(TEND_SECONDS):
                self.devices.unlink(missing_ok=True)
                return
            for id in self._idle():
                with self._lock, contextlib.suppress(NotFound):
                    self.unload(id)

    def _idle(self) -> list[str]:
        """Models that nobody has used for as long as their settings say, and that do no work now."""
        found, now = [], self._clock.monotonic()
        with self._lock:
            states = {status.name: status.state for status in self._supervisor.statuses()}
            for id, loaded in self._loaded.items():
                if states.get(id) is not Phase.READY:
                    loaded.used = now
                most = loaded.candidate.settings.idle_seconds
                if most and not loaded.pinned and not loaded.unloading and now - loaded.used > most:
                    found.append(loaded)
        return [one.seat.card.id for one in found if not one.engine.busy(one.seat)]

    def _row(self, status: Status) -> dict[str, Any]:
        loaded = self._loaded[status.name]
        reason = f"makes room for {loaded.makes_room_for}" if loaded.makes_room_for else status.reason
        return full_row(
            replace(status, reason=reason),
            loaded.engine.kind,
            replace(loaded.seat, threads=loaded.seat.threads or loaded.threads),
            loaded.place,
            loaded.pinned,
            self._patience(loaded.engine).start_seconds,
        )

    def _order_row(self, card: Card) -> dict[str, Any]:
        order = self._orders.get(card.id)
        if order is None:
            return self._row(self._supervisor.status(card.id))
        reason = f"waits until {', '.join(sorted(order.leaving))} has left"
        row = empty_row(card.id, Phase.STOPPED, reason)
        return {**row, "start_seconds": self._patience(order.candidate.engine).start_seconds}

    def _write_key(self, id: str, key: str) -> Path:
        self.scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
        return write_private(self.scratch / f"{id}.key", key + "\n")

    def _publish(self) -> None:
        with self._lock:
            write_private(self.published, json.dumps(self.rows(), indent=1) + "\n")
