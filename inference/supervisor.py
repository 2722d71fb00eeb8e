"""The supervisor of processes: one loop for the box's services and for its engines.

Each process goes through stopped → starting → ready → draining → stopped, or to failed and back; `inference.lifecycle`
holds the table of legal moves and decides, this module has the effects. The steps of the loop, for every process:
see whether it ended or answers, decide, act, tell whoever listens when something changed.

Children are started by the thread that calls `run`, because the kernel kills them when the thread that started them
ends: call it from a thread that lives as long as the process. Every other method may be called from any thread.
"""

from __future__ import annotations

import contextlib
import random
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from appliance.errors import Conflict, FactoryError, NotFound
from appliance.ports import Clock, SystemClock
from inference.child import Child, Elsewhere, Explain, Running
from inference.lifecycle import Action, Life, Patience, Phase, Seen, decide, want

BUSY_SECONDS = 0.05
"""Pause of the loop while some process starts or drains."""
QUIET_SECONDS = 0.25
"""Pause otherwise: how late the end of a ready process is noticed."""
ROTATE_SECONDS = 30.0


class Stop(Protocol):
    """Something that says when to end; a threading.Event will do."""

    def is_set(self) -> bool: ...


Argv = Sequence[str] | Callable[[], Sequence[str]] | None


@dataclass(frozen=True)
class ProcessSpec:
    """What to run and how to know that it works."""

    name: str
    argv: Argv
    """The command, or a function that makes it anew for each start (for a free port, say).

    None for what runs on another machine: it is only asked whether it answers."""
    log: Path
    probe: Callable[[], bool]
    """True when it is ready to serve. Called in a thread of its own while it starts; must end within seconds."""
    env: Mapping[str, str] | Callable[[], Mapping[str, str]] | None = None
    """The whole environment, made anew for each start after the command if it is a function; None means the
    supervisor's own."""
    patience: Patience = field(default_factory=Patience)
    death_signal: int = signal.SIGKILL
    """Sent by the kernel should the supervisor die without stopping it."""
    busy: Callable[[], bool] = lambda: False
    """True while it has work in flight; asked as `probe` is, during the `drain_seconds` before it is told to end."""
    outlives: Sequence[str] = ()
    """Processes that must have ended before this one is told to end with the supervisor: they need it to finish."""
    telling: Sequence[str] = ()
    """Phrases of the log lines that say why it ended, the best first."""
    explain: Explain | None = None
    """Makes the reason of its end from its log; asked before `telling`."""
    alive: Callable[[], bool] = lambda: True
    """True while it answers; asked as `probe` is, every `alive_seconds` once it is ready."""


@dataclass(frozen=True)
class Status:
    """How a process is. Times are UTC."""

    name: str
    state: Phase
    pid: int | None
    since: datetime
    restarts: int
    reason: str
    next_try: datetime | None

    def as_json(self) -> dict[str, Any]:
        row = asdict(self)
        row["state"] = self.state.value
        row["since"] = self.since.isoformat()
        row["next_try"] = self.next_try.isoformat() if self.next_try else None
        return row


@dataclass
class _Entry:
    """A supervised process: what is to run, its life so far, and the child while there is one."""

    spec: ProcessSpec
    life: Life
    since: datetime
    child: Running | None = None
    probing: Future[bool] | None = None
    looked: float = 0.0
    """When it was last seen whether it is alive."""
    misses: int = 0
    """Looks since then that found nothing."""
    spawn_failure: str | None = None
    probe_failure: str = ""
    rotated: float = 0.0


class Supervisor:
    """Keeps wanted processes running. `on_change` is called from the loop's thread after every change."""

    def __init__(
        self,
        clock: Clock | None = None,
        on_change: Callable[[], None] = lambda: None,
        probes: Executor | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._clock = clock or SystemClock()
        self._on_change = on_change
        self._probes = probes or ThreadPoolExecutor(8, thread_name_prefix="probe")
        self._jitter = jitter
        self._entries: dict[str, _Entry] = {}
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._ending = False
        self._untold = False

    def add(self, spec: ProcessSpec) -> None:
        """Know a process, stopped. Raises Conflict when one of this name is there."""
        with self._lock:
            if spec.name in self._entries:
                raise Conflict(f"a process {spec.name!r} is supervised already", "stop and remove it first")
            self._entries[spec.name] = _Entry(spec, Life(since=self._clock.monotonic()), self._clock.now())

    def start(self, name: str) -> None:
        """Want it to run; tries a failed one again at once. Raises NotFound."""
        self._want(name, True)

    def stop(self, name: str) -> None:
        """Want it to end: asked first, killed after `stop_seconds`. Raises NotFound."""
        self._want(name, False)

    def renew(self, name: str) -> None:
        """End it and start it again with a command made anew; one that does not run stays so. Raises NotFound."""
        with self._lock:
            entry = self._entry(name)
            if entry.life.phase in (Phase.STARTING, Phase.READY):
                entry.life = replace(entry.life, renew=True)
        self._wake.set()

    def remove(self, name: str) -> None:
        """Forget a stopped process. Raises NotFound, or Conflict while it is not stopped."""
        with self._lock:
            entry = self._entry(name)
            if entry.life.wanted or entry.life.phase is not Phase.STOPPED:
                raise Conflict(f"{name!r} is {entry.life.phase.value}", "stop it and wait until it is stopped")
            del self._entries[name]

    def statuses(self) -> tuple[Status, ...]:
        """How all processes are, in the order they were added."""
        with self._lock:
            return tuple(self._status(entry) for entry in self._entries.values())

    def status(self, name: str) -> Status:
        """How one is. Raises NotFound."""
        with self._lock:
            return self._status(self._entry(name))

    def run(self, stop: Stop) -> None:
        """Supervise until `stop` is set, then end all processes and return. Whatever happens, no child is left."""
        try:
            while not stop.is_set():
                self.tick()
                self._pause()
            self._ending = True
            while any(status.state is not Phase.STOPPED for status in self.statuses()):
                self._want_none()
                self.tick()
                self._pause()
        finally:
            for entry in self._entries.values():
                if entry.child is not None:
                    entry.child.kill()
            self._probes.shutdown(wait=False, cancel_futures=True)

    def wake(self) -> None:
        """Let the loop look at once (after `stop` was set, say)."""
        self._wake.set()

    def tick(self) -> None:
        """One look at every process."""
        with self._lock:
            entries = list(self._entries.values())
        changed = [self._step(entry) for entry in entries]
        self._untold = any(changed) or self._untold
        if self._untold:
            with contextlib.suppress(OSError):  # a full disk must not end what runs: it is told again at the next look
                self._on_change()
                self._untold = False

    def _step(self, entry: _Entry) -> bool:
        seen = self._look(entry)
        with self._lock:
            before = entry.life
            entry.life, action = decide(before, seen, entry.spec.patience)
            if entry.life.phase is not before.phase:
                entry.since = self._clock.now()
                entry.probing = None  # what was asked in one phase is no answer in the next
                entry.looked, entry.misses = seen.now, 0
            if seen.ended is not None:
                entry.child = entry.probing = entry.spawn_failure = None
        self._act(entry, action, seen.now)
        return entry.life != before

    def _look(self, entry: _Entry) -> Seen:
        now = self._clock.monotonic()
        ended = entry.spawn_failure or (entry.child.ended() if entry.child else None)
        if ended is None and entry.child is None and entry.life.phase is Phase.DRAINING:
            ended = "was not running"
        answers = ended is None and entry.life.phase is Phase.STARTING and self._check(entry, entry.spec.probe) is True
        # Not known yet counts as busy. At the end of the supervisor nothing is waited for.
        draining = entry.life.phase is Phase.DRAINING and not entry.life.asked and not self._ending
        busy = ended is None and draining and self._check(entry, entry.spec.busy) is not False
        silent = self._silence(entry, now) if ended is None and entry.life.phase is Phase.READY else None
        return Seen(now, ended, answers, busy, silent, entry.probe_failure, self._jitter())

    def _silence(self, entry: _Entry, now: float) -> str | None:
        """That a ready process answers no longer, in words."""
        patience = entry.spec.patience
        if not patience.alive_seconds or (entry.probing is None and now - entry.looked < patience.alive_seconds):
            return None
        answered = self._check(entry, entry.spec.alive, again=False)
        if answered is None:
            return None
        entry.looked, entry.misses = now, 0 if answered else entry.misses + 1
        if entry.misses < patience.alive_misses:
            return None
        return "answers no longer" + (f": {entry.probe_failure}" if entry.probe_failure else "")

    def _check(self, entry: _Entry, check: Callable[[], bool], again: bool = True) -> bool | None:
        """What the last finished check said; starts the next one if `again`. A check never holds up the loop."""
        finished = entry.probing if entry.probing is not None and entry.probing.done() else None
        if entry.probing is None or (finished is not None and again):
            entry.probing = self._probes.submit(check)
            finished = finished or (entry.probing if entry.probing.done() else None)
        if finished is None:
            return None
        if not again:
            entry.probing = None
        error = finished.exception()
        entry.probe_failure = _why(error) if error else ""
        return error is None and finished.result()

    def _act(self, entry: _Entry, action: Action, now: float) -> None:
        match action:
            case Action.SPAWN:
                self._spawn(entry, now)
            case Action.TERMINATE if entry.child:
                entry.child.terminate()
            case Action.KILL if entry.child:
                entry.child.kill()
                if entry.life.phase is Phase.FAILED:
                    entry.child = entry.probing = None
            case _ if entry.child and now - entry.rotated >= ROTATE_SECONDS:
                entry.child.rotate()
                entry.rotated = now

    def _spawn(self, entry: _Entry, now: float) -> None:
        spec = entry.spec
        entry.rotated = now
        try:
            argv = spec.argv() if callable(spec.argv) else spec.argv
            if argv is None:
                entry.child = Elsewhere()
            else:
                env = spec.env() if callable(spec.env) else spec.env
                entry.child = Child(argv, env, spec.log, spec.death_signal, spec.telling, spec.explain)
        except OSError as error:
            entry.spawn_failure = f"cannot be started: {error.strerror or error}"
        except FactoryError as error:  # its command cannot be made now: the server was uninstalled, say
            entry.spawn_failure = f"cannot be started: {error.message}"

    def _want(self, name: str, wanted: bool) -> None:
        with self._lock:
            entry = self._entry(name)
            entry.life = want(entry.life, wanted, self._clock.monotonic())
        self._wake.set()

    def _want_none(self) -> None:
        with self._lock:
            alive = {name for name, entry in self._entries.items() if entry.life.phase is not Phase.STOPPED}
            for entry in self._entries.values():
                if not alive.intersection(entry.spec.outlives):
                    entry.life = replace(entry.life, wanted=False)

    def _entry(self, name: str) -> _Entry:
        if name not in self._entries:
            known = ", ".join(self._entries) or "none"
            raise NotFound(f"no process {name!r} is supervised", f"there are: {known}")
        return self._entries[name]

    def _status(self, entry: _Entry) -> Status:
        life, child = entry.life, entry.child
        phase = Phase.DRAINING if life.renew and life.phase is Phase.READY else life.phase
        next_try = None
        if life.next_try is not None:
            next_try = self._clock.now() + timedelta(seconds=life.next_try - self._clock.monotonic())
        return Status(
            entry.spec.name, phase, child.pid if child else None, entry.since, life.restarts, life.reason, next_try
        )

    def _pause(self) -> None:
        now = self._clock.monotonic()
        with self._lock:
            lives = [entry.life for entry in self._entries.values()]
        pause = BUSY_SECONDS if any(life.phase in (Phase.STARTING, Phase.DRAINING) for life in lives) else QUIET_SECONDS
        due = [life.next_try - now for life in lives if life.next_try is not None]
        self._wake.wait(max(0.0, min([pause, *due])))
        self._wake.clear()


def _why(error: BaseException) -> str:
    return error.message if isinstance(error, FactoryError) else f"{type(error).__name__}: {error}"
