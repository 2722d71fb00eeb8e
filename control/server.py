"""Composition root of the console process: the application under gunicorn, one worker with threads.

The ledger is opened in the worker, after the fork: an open database must never cross one. One worker, because live
streams and the throttle are kept in the process; threads, because SQLite answers in a millisecond and a stream only
waits.
"""

from __future__ import annotations

import logging
import socket
from typing import Any

from flask import Flask
from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter

from appliance.config import Home, Settings
from appliance.errors import ConfigError, Conflict
from appliance.ledger import open_ledger
from control import access
from control.app import create_app
from control.desk import EXTENSION, Desk

BACKLOG = 256
SECONDS_TO_END = 5
"""How long requests may go on after SIGTERM. Streams notice within a second."""


def serve(home: Home, settings: Settings) -> int:
    """Run the console until SIGTERM or SIGINT. Returns the exit status.

    Raises:
        ConfigError: a secret cannot be used, or the address is not this machine's.
        Conflict: the port is taken.
        Unavailable: the ledger cannot be read.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    token, session_key = access.ensure_token(home), access.ensure_session_key(home)
    open_ledger(home).close()  # says in words what is wrong with it; closed again before the fork
    with listen(settings.console.host, settings.console.port) as door:
        server = _Server(home, settings, token, session_key, door)
        try:
            Arbiter(server).run()
        except SystemExit as end:
            return end.code if isinstance(end.code, int) else 1
    return 0


def listen(host: str, port: int) -> socket.socket:
    """The listening socket. Raises Conflict when the port is taken, ConfigError when the address is not ours."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        place = f"{host}:{port}"
        if error.errno == 98:
            raise Conflict(
                f"the console cannot listen on {place}: the port is taken",
                "stop what listens there, or set console.port (APPLIANCE_CONSOLE_PORT)",
            ) from error
        raise ConfigError(
            f"the console cannot listen on {place}: {error}", "set console.host and console.port"
        ) from error


class _Server(BaseApplication):  # type: ignore[misc]
    """Gunicorn's view of us: settings, and how a worker makes its application."""

    def __init__(self, home: Home, settings: Settings, token: str, session_key: str, door: socket.socket) -> None:
        self._home, self._settings = home, settings
        self._token, self._session_key = token, session_key
        self._door = door
        super().__init__()

    def load_config(self) -> None:
        options: dict[str, Any] = {
            "bind": f"fd://{self._door.fileno()}",
            "worker_class": "gthread",
            "workers": 1,
            "threads": self._settings.console.threads,
            "max_requests": 0,  # a worker that retires cuts its open streams off
            "graceful_timeout": SECONDS_TO_END,
            "timeout": 60,
            "keepalive": 5,
            "control_socket_disable": True,
            "preload_app": False,
            "proc_name": "appliance-console",
            "errorlog": "-",
            "loglevel": "warning",
            "worker_tmp_dir": str(self._home.run),
            "post_worker_init": _tell_streams_when_to_end,
        }
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        return create_app(Desk(self._home, self._settings, open_ledger(self._home)), self._token, self._session_key)


def _tell_streams_when_to_end(worker: Any) -> None:
    desk: Desk = worker.wsgi.extensions[EXTENSION]
    desk.stopping = lambda: not worker.alive
