"""Composition root of the gateway process: the application under gunicorn, one gevent worker.

One worker, because a call spends its time waiting and one greenlet each is cheap, and because streams, connections to
engines and counts live in the process. Only the worker is patched for gevent, by gunicorn, before it loads the
application; this module must therefore import nothing that waits.
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import socket
from typing import Any

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter

from appliance.config import Home, Settings
from appliance.errors import ConfigError, Conflict

BACKLOG = 1024
SECONDS_TO_END = 3
"""How long calls may go on after SIGTERM. The watch ends them after a second; this is for what does not hear it."""
PR_SET_PDEATHSIG = 1


def serve(home: Home, settings: Settings) -> int:
    """Run the gateway until SIGTERM or SIGINT. Returns the exit status.

    Raises:
        Conflict: the port is taken.
        ConfigError: the address is not this machine's.
    """
    home.run.mkdir(parents=True, exist_ok=True)
    with listen(settings.gateway.host, settings.gateway.port) as door:
        try:
            Arbiter(_Server(home, settings, door)).run()
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
        if error.errno == errno.EADDRINUSE:
            raise Conflict(
                f"the gateway cannot listen on {place}: the port is taken",
                "stop what listens there, or set gateway.port (APPLIANCE_GATEWAY_PORT)",
            ) from error
        raise ConfigError(
            f"the gateway cannot listen on {place}: {error}", "set gateway.host and gateway.port"
        ) from error


class _Server(BaseApplication):  # type: ignore[misc]
    """Gunicorn's view of us: settings, and how a worker makes its application."""

    def __init__(self, home: Home, settings: Settings, door: socket.socket) -> None:
        self._home, self._settings, self._door = home, settings, door
        super().__init__()

    def load_config(self) -> None:
        options: dict[str, Any] = {
            "bind": f"fd://{self._door.fileno()}",
            "worker_class": "gevent",
            "workers": 1,
            "max_requests": 0,  # a worker that retires cuts its open streams off
            "graceful_timeout": SECONDS_TO_END,
            "timeout": 60,
            "keepalive": 75,  # longer than clients keep idle connections, so that they close first
            "control_socket_disable": True,
            "preload_app": False,
            "proc_name": "appliance-gateway",
            "errorlog": "-",
            "loglevel": "warning",
            "worker_tmp_dir": str(self._home.run),
            "post_fork": _die_with_the_master,
            "post_worker_init": _start_the_watch,
        }
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        # Imported here: the worker is patched by now.
        from inference.gateway.app import create_app
        from inference.gateway.parts import Parts

        return create_app(Parts.of(self._home, self._settings))


def _die_with_the_master(arbiter: Any, worker: Any) -> None:  # noqa: ARG001 - the shape of a hook
    """A worker that outlives a killed master would keep the port from the next gateway."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != worker.ppid:
        os._exit(1)


def _start_the_watch(worker: Any) -> None:
    from inference.gateway.app import EXTENSION

    watch = worker.wsgi.extensions[EXTENSION].watch
    watch.stopping = lambda: not worker.alive
    watch.start()
