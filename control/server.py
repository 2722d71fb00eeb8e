"""Composition root of the console process: the application under gunicorn, one worker with threads.

Threads, because SQLite answers in a millisecond and a live stream only waits. A request gets one once it is all here.
"""

from __future__ import annotations

import logging
from typing import Any

from flask import Flask

from appliance.config import Home
from appliance.door import Service, listen
from appliance.ledger import open_ledger
from appliance.mirror.mirror import Mirror
from appliance.mirror.serving import Served
from appliance.settings import Settings
from appliance.tls import served_by
from control import access, bringing
from control.app import LARGEST_BODY, create_app
from control.desk import EXTENSION, Desk
from control.gathering import GatheringWorker
from control.turned_away import FILE, UNKNOWN, TurnedAway
from control.uploads import CHUNK
from control.views import git, hooks

log = logging.getLogger("console")

HOOK = b"POST /hooks/"
UPLOAD = b"PATCH /api/v1/uploads/"
SECONDS_TO_END = 5
"""How long requests may go on after SIGTERM. Streams notice within a second."""


def serve(home: Home, settings: Settings) -> int:
    """Run the console until SIGTERM or SIGINT. Returns the exit status.

    Raises:
        ConfigError: a secret cannot be used, the address is not this machine's, or there is no certificate for TLS.
        Conflict: the port is taken.
        Unavailable: the ledger cannot be read.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    token, session_key = access.ensure_token(home), access.ensure_session_key(home)
    served_by(home, settings.certificate, settings.console.tls)  # says in words what is wrong, as the next line does
    open_ledger(home).close()  # closed again before the fork

    def load() -> Flask:
        here = Desk(
            home, settings, open_ledger(home), Served(home.mirrors),
            repository=lambda tracked: Mirror.of(home, tracked, settings.mirror),
        )  # fmt: skip
        return create_app(here, token, session_key)

    options = {
        "worker_class": GatheringWorker,
        "threads": settings.console.threads,
        "graceful_timeout": SECONDS_TO_END,
        "keepalive": 5,
        "post_worker_init": _introduce,
    }
    door = listen("console", settings.console.host, settings.console.port)
    return Service("console", home, [door], load, options).run()


def _introduce(worker: Any) -> None:
    """Let streams know when to end, and the worker how much it may gather and where refusals are counted and told."""
    desk: Desk = worker.wsgi.extensions[EXTENSION]
    worker.tls = served_by(desk.home, desk.settings.certificate, desk.settings.console.tls)
    desk.stopping = lambda: not worker.alive
    turned_away: TurnedAway = worker.wsgi.extensions[hooks.TURNED_AWAY]
    most = max(LARGEST_BODY, desk.settings.intake.max_mb * 1024 * 1024)
    worker.most = lambda head: largest(head, most)
    worker.note = lambda came, reason: turned_away.note(UNKNOWN, reason) if came.startswith(HOOK) else None
    worker.look = lambda: _write(turned_away, desk.home)
    bringing.go_on(desk)


def largest(head: bytes, usual: int) -> int:
    """How large a body is gathered, of a request with this head: bytes."""
    first = head.partition(b"\r\n")[0]
    if first.startswith(UPLOAD):
        return CHUNK
    return git.LONGEST_REQUEST if b" /git/" in first else usual


def _write(turned_away: TurnedAway, home: Home) -> None:
    """Tell other processes what was turned away. A disk that is full must not end the console."""
    try:
        turned_away.write(home.run / FILE)
    except OSError as error:
        log.warning("what was turned away cannot be written: %s", error.strerror)
