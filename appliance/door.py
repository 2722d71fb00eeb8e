"""How a web service of the box listens: its socket, and gunicorn around its application.

Used by the gateway and the console. One worker each, because live streams and counts are kept in the process. The
socket is opened before gunicorn starts, so that a taken port is said in words; databases are opened by `load`, in the
worker, because an open one must never cross a fork.
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import signal
import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.config import Config

from appliance.config import Home
from appliance.errors import ConfigError, Conflict
from appliance.sockets import LONGEST

BACKLOG = 1024
PR_SET_PDEATHSIG = 1


def listen(service: str, host: str, port: int) -> socket.socket:
    """The listening socket of a service, which is named as its section of the settings.

    Raises:
        Conflict: the port is taken.
        ConfigError: the address is not this machine's.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        door = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        problem = f"the {service} cannot listen on {host}:{port}"
        if error.errno == errno.EADDRINUSE:
            hint = f"stop what listens there, or set {service}.port (APPLIANCE_{service.upper()}_PORT)"
            raise Conflict(f"{problem}: the port is taken", hint) from error
        raise ConfigError(f"{problem}: {error}", f"set {service}.host and {service}.port") from error
    # Connections inherit it. One that came before gunicorn set it would get the second part of every answer 40 ms late.
    door.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return door


def listen_inside(file: Path) -> socket.socket:
    """The listening Unix socket of a service, for the box's own user alone. What a killed process left is taken over:
    whoever opens this holds the service's port already, so it is gone.

    Raises:
        ConfigError: it cannot be made.
    """
    name = str(file)
    try:
        file.unlink(missing_ok=True)
        if len(os.fsencode(name)) > LONGEST:  # kept open: gunicorn takes the file away by this name at the end
            name = f"/proc/self/fd/{os.open(file.parent, os.O_PATH | os.O_DIRECTORY)}/{file.name}"
        door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        before = os.umask(0o177)
        try:
            door.bind(name)
        finally:
            os.umask(before)
        door.listen(BACKLOG)
    except OSError as error:
        raise ConfigError(f"cannot listen on {file}: {error.strerror}", "see to the folder's rights") from error
    return door


class Remembered(Config):  # type: ignore[misc]
    """gunicorn's settings, remembered: it asks for dozens of them at every request, and each look-up takes its time."""

    def __getattr__(self, name: str) -> Any:
        found = self.__dict__[name] = super().__getattr__(name)
        return found

    def set(self, name: str, value: Any) -> None:
        super().set(name, value)
        self.__dict__.pop(name, None)


class Service(BaseApplication):  # type: ignore[misc]
    """One worker of gunicorn behind `doors`, which it takes over.

    `load` makes the WSGI application, in the worker. `options` are gunicorn's; those that all services share are here.
    """

    def __init__(
        self,
        name: str,
        home: Home,
        doors: Sequence[socket.socket],
        load: Callable[[], Any],
        options: Mapping[str, Any],
    ) -> None:
        self._load = load
        self._options = {
            "bind": [f"fd://{door.detach()}" for door in doors],  # gunicorn duplicates descriptors and closes these
            "workers": 1,
            "max_requests": 0,  # a worker that retires cuts its open streams off
            "timeout": 60,
            "control_socket_disable": True,
            "preload_app": False,
            "proc_name": f"appliance-{name}",
            "errorlog": "-",
            "loglevel": "warning",
            "worker_tmp_dir": str(home.run),
            "post_fork": _die_with_the_master,
            **options,
        }
        super().__init__()

    def load_default_config(self) -> None:
        self.cfg = Remembered(self.usage, prog=self.prog)

    def load_config(self) -> None:
        for name, value in self._options.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        return self._load()

    def run(self) -> int:
        """Serve until SIGTERM or SIGINT, with as many open connections as this machine allows. Returns the status."""
        allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, allowed))
        try:
            Arbiter(self).run()
        except SystemExit as end:
            return end.code if isinstance(end.code, int) else 1
        return 0


def _die_with_the_master(arbiter: Any, worker: Any) -> None:  # noqa: ARG001 - the shape of a hook
    """A worker that outlives a killed master would keep the port from the next one."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != worker.ppid:
        os._exit(1)
