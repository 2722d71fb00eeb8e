"""Composition root of the `engines` process: one pool of engines, one control socket, ended by a signal."""

from __future__ import annotations

import fcntl
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from appliance.config import Home
from appliance.errors import Conflict
from appliance.settings import Settings
from inference.engines.control import ControlServer
from inference.engines.engine import Engine
from inference.engines.llamacpp import LlamaCpp
from inference.engines.pool import Pool
from inference.engines.remote import RemoteServer
from inference.engines.showing import Showing
from inference.engines.vllm import Vllm


def kinds(settings: Settings) -> tuple[Engine, ...]:
    """Every kind of engine, the first that serves a format takes it. A new kind is one line here."""
    own = settings.engines
    return (
        LlamaCpp(own.llama_server, own.llama_gpu),
        Vllm(own.vllm, own.vllm_device == "gpu", own.ray_address, own.vllm_sleep),
        RemoteServer(),
    )


def serve(home: Home, settings: Settings) -> int:
    """Serve models until SIGTERM or SIGINT, then end all engines. Call it from the main thread. Returns 0.

    Raises:
        Conflict: another engines process runs for this home.
    """
    home.run.mkdir(parents=True, exist_ok=True)
    stop = _Flag()
    with _only_one(home), _signals_set(stop):
        engines = kinds(settings)
        pool = Pool(home, settings, engines)
        pool.sweep()
        pool.preload()
        door = ControlServer(home.run / "engines.sock", pool, Showing(home, settings, engines))
        thread = threading.Thread(target=door.serve_forever, kwargs={"poll_interval": 0.1}, name="control", daemon=True)
        thread.start()
        try:
            pool.run(stop)
        finally:
            door.close()
    return 0


class _Flag:
    """Set by a signal handler. An Event takes a lock when it is set, and a second signal would wait for the first."""

    def __init__(self) -> None:
        self._set = False

    def is_set(self) -> bool:
        return self._set

    def set(self) -> None:
        self._set = True


@contextmanager
def _signals_set(flag: _Flag) -> Iterator[None]:
    def ask(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the shape of a handler
        flag.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _only_one(home: Home) -> Iterator[None]:
    """Hold the home's engines lock; the kernel lets go of it however we end."""
    handle = os.open(home.run / "engines.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Conflict(f"an engines process runs for {home.root} already", "stop it first") from error
        yield
    finally:
        os.close(handle)
