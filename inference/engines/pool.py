"""The loaded models: each a supervised engine with a port, a key and its share of the threads."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from appliance.config import EnginesSettings, Home
from appliance.errors import FactoryError, LimitExceeded, NotFound, Unavailable, VerificationFailed
from appliance.ports import Clock
from inference.engines.engine import Engine, Seat
from inference.engines.placement import context_of, fit_memory, share_threads
from inference.lifecycle import Patience, Phase
from inference.supervisor import ProcessSpec, Status, Stop, Supervisor
from models.card import Card
from models.gguf import read_header
from models.registry import Registry

DRAIN_SECONDS = 30.0
"""For requests in flight when a model is unloaded or starts anew with other threads. New ones wait at the gateway."""
STOP_SECONDS = 3.0
"""An engine without work ends at once; llama-server told to end in mid-answer stops answering, and does not end."""


@dataclass
class Loaded:
    """One model in the pool."""

    engine: Engine
    seat: Seat
    """As it was last started; without threads before that."""
    threads: int = 0
    """Its share, which the next start takes."""
    unloading: bool = False


class Pool:
    """Loads and unloads models. `load`, `unload` and `rows` may be called from any thread; `run` blocks."""

    def __init__(
        self, home: Home, settings: EnginesSettings, kinds: Sequence[Engine], clock: Clock | None = None
    ) -> None:
        self._home = home
        self._settings = settings
        self._kinds = tuple(kinds)
        self._registry = Registry(home.models)
        self._supervisor = Supervisor(clock, self._changed)
        self._loaded: dict[str, Loaded] = {}
        self._refused: dict[str, str] = {}
        self._lock = threading.RLock()
        self._budget = settings.threads or len(os.sched_getaffinity(0))
        self.published = home.run / "engines.json"
        self.scratch = home.run / "engines"

    def run(self, stop: Stop) -> None:
        """Supervise until `stop` is set, then end all engines."""
        self._publish()
        try:
            self._supervisor.run(stop)
        finally:
            for loaded in self._loaded.values():
                loaded.seat.key_file.unlink(missing_ok=True)
            self._loaded.clear()
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
                self.load(name)
            except FactoryError as error:
                self._refused[name] = f"{error.message}. {error.hint}"

    def load(self, name: str, again: bool = False) -> dict[str, Any]:
        """Start serving a model (id or alias); returns its row at once, mostly `starting`.

        A model that is loaded stays as it is, also a failed one, unless `again` asks for a new try.

        Raises:
            NotFound: no such model.
            Unavailable: no installed engine serves its format.
            VerificationFailed: its weights are not what the card says.
            LimitExceeded: it does not fit into memory.
        """
        card = self._registry.find(name)
        with self._lock:
            self._refused.pop(name, None)
            known = self._loaded.get(card.id)
            if known is None:
                self._loaded[card.id] = self._admit(card)
                self._share_out()
                self._supervisor.add(self._spec(card.id))
                self._supervisor.start(card.id)
            elif known.unloading or (again and self._supervisor.status(card.id).state is Phase.FAILED):
                known.unloading = False
                self._supervisor.start(card.id)
            row = self._row(self._supervisor.status(card.id))
        self._publish()
        return row

    def unload(self, name: str) -> dict[str, Any]:
        """Stop serving a model; returns its row at once, mostly `draining`. Raises NotFound when it is not loaded."""
        with self._lock:
            id = name if name in self._loaded else self._registry.find(name).id
            if id not in self._loaded:
                raise NotFound(f"the model {id} is not loaded", "`appliance model list` shows what is")
            self._loaded[id].unloading = True
            self._supervisor.stop(id)
            return self._row(self._supervisor.status(id))

    def rows(self) -> list[dict[str, Any]]:
        """What runs, as published."""
        with self._lock:
            rows = [self._row(status) for status in self._supervisor.statuses() if status.name in self._loaded]
            refused = [_refusal(name, reason) for name, reason in self._refused.items()]
        return rows + refused

    def _admit(self, card: Card) -> Loaded:
        """Checks in the order of their cost: engine, file, header, memory."""
        engine = next((kind for kind in self._kinds if card.format in kind.formats), None)
        if engine is None:
            raise Unavailable(
                f"no engine on this box serves {card.format} models", "import the model in another format"
            )
        weights = self._registry.path(card)
        if not self._registry.whole(card):
            raise VerificationFailed(
                f"the weights of {card.id} are missing or cut short", f"`appliance model verify {card.id}`"
            )
        if card.format == "gguf":
            read_header(weights)
        context = context_of(card, self._settings.context_tokens)
        needed = engine.memory_bytes(card, self._settings.slots, context)
        fit = fit_memory(card.id, needed, psutil.virtual_memory().available)
        if not fit.fits:
            raise LimitExceeded(fit.reason, "unload a model, or lower engines.slots or engines.context_tokens")
        key = secrets.token_urlsafe(32)
        seat = Seat(
            card,
            weights,
            free_port(),
            key,
            self._write_key(card.id, key),
            0,
            self._settings.slots,
            context,
            self.scratch,
        )
        engine.argv(seat)  # says now, and not in a log, that the server is not installed
        return Loaded(engine, seat)

    def _spec(self, id: str) -> ProcessSpec:
        loaded = self._loaded[id]

        def argv() -> tuple[str, ...]:
            # Each start may need another port: somebody may have taken ours in between. The lock, because threads
            # shared out anew at this moment must be seen either here or by `_share_out`.
            with self._lock:
                port = loaded.seat.port if port_is_free(loaded.seat.port) else free_port()
                loaded.seat = replace(loaded.seat, port=port, threads=loaded.threads)
                return loaded.engine.argv(loaded.seat)

        return ProcessSpec(
            name=id,
            argv=argv,
            log=self._home.logs / f"engine-{id}.log",
            probe=lambda: loaded.engine.answers(loaded.seat),
            env=loaded.engine.env(loaded.seat),
            busy=lambda: loaded.engine.busy(loaded.seat),
            telling=loaded.engine.telling,
            patience=Patience(
                start_seconds=self._settings.start_seconds,
                drain_seconds=DRAIN_SECONDS,
                stop_seconds=STOP_SECONDS,
                restart_limit=self._settings.restart_limit,
            ),
        )

    def _share_out(self) -> None:
        """Give every engine its threads: one that runs with more starts anew, others at their next start."""
        shares = share_threads([loaded.seat.card for loaded in self._loaded.values()], self._budget)
        for id, loaded in self._loaded.items():
            loaded.threads = shares[id]
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
        self._publish()

    def _row(self, status: Status) -> dict[str, Any]:
        loaded = self._loaded[status.name]
        seat = loaded.seat
        row = status.as_json()
        del row["name"]
        return {
            "model": status.name,
            **row,
            "engine": loaded.engine.kind,
            "url": seat.url,
            "api_key_file": str(seat.key_file),
            "context_tokens": seat.context_tokens,
            "slots": seat.slots,
            "threads": seat.threads or loaded.threads,
        }

    def _write_key(self, id: str, key: str) -> Path:
        self.scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
        return write_private(self.scratch / f"{id}.key", key + "\n")

    def _publish(self) -> None:
        with self._lock:
            write_private(self.published, json.dumps(self.rows(), indent=1) + "\n")


def write_private(file: Path, text: str) -> Path:
    """Write a file only its owner can read, whole or not at all."""
    new = file.with_name(f".{file.name}.new")
    with contextlib.suppress(FileNotFoundError):
        new.unlink()
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        stream.write(text)
    new.replace(file)
    return file


def free_port() -> int:
    """A TCP port of the loopback that nobody has right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def port_is_free(port: int) -> bool:
    """Whether a server could listen on this port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _refusal(name: str, reason: str) -> dict[str, Any]:
    nothing = {"engine": "", "url": "", "api_key_file": "", "context_tokens": 0, "slots": 0, "threads": 0}
    now = datetime.now(UTC).isoformat()
    row = {"model": name, "state": Phase.FAILED.value, "pid": None, "since": now, "restarts": 0}
    return {**row, "reason": reason, "next_try": None, **nothing}
