"""Composition root of the gateway process: the application under gunicorn, one gevent worker.

One worker, because a call spends its time waiting and one greenlet each is cheap. Only the worker is patched for
gevent, by gunicorn, before it loads the application; this module must therefore import nothing that waits.
"""

from __future__ import annotations

import gc
import math
from functools import partial
from typing import Any

from appliance.config import Home
from appliance.door import Service, listen, listen_inside
from appliance.settings import Settings
from appliance.tls import served_by
from inference.gateway.worker import Worker

MOST_CONNECTIONS = 20_000
"""Clients keep idle connections: a place costs a few KiB, and without one nobody new is let in."""
GARBAGE = 10_000
"""Objects after which young garbage is looked for: some twenty calls' worth. Nearly all of it goes without."""
SECONDS_TO_END = 2
"""How long calls may go on after the watch has ended them: for what does not hear it."""


def serve(home: Home, settings: Settings) -> int:
    """Run the gateway until SIGTERM or SIGINT. Returns the exit status.

    Raises:
        Conflict: the port is taken.
        ConfigError: the address is not this machine's, or there is no certificate for TLS.
    """
    served_by(home, settings.certificate, settings.gateway.tls)  # says in words what is wrong with it

    def load() -> Any:
        # Imported here: the worker is patched by now.
        from inference.gateway.app import create_app
        from inference.gateway.parts import Parts

        return create_app(Parts.of(home, settings))

    def introduce(worker: Any) -> None:
        worker.tls = served_by(home, settings.certificate, settings.gateway.tls)
        _start_the_watch(worker)

    options = {
        "worker_class": Worker,
        "worker_connections": MOST_CONNECTIONS,
        "graceful_timeout": math.ceil(settings.gateway.drain_seconds) + SECONDS_TO_END,
        "keepalive": 75,  # longer than clients keep idle connections, so that they close first
        "post_worker_init": introduce,
    }
    home.run.mkdir(parents=True, exist_ok=True)
    doors = [listen("gateway", settings.gateway.host, settings.gateway.port), listen_inside(home.gateway_socket)]
    return Service("gateway", home, doors, load, options).run()


def _start_the_watch(worker: Any) -> None:
    from inference.gateway.app import EXTENSION

    parts = worker.wsgi.extensions[EXTENSION]
    parts.watch.stopping = lambda: not worker.alive
    # Connections that clients keep open for their next call would hold the worker for the whole time.
    doors = [listener.dup() for listener in worker.sockets]  # gunicorn closes its own at once
    parts.watch.stops = lambda: _stay_at_the_door(worker, doors)
    parts.watch.drained = lambda: worker.cfg.set("graceful_timeout", 0)
    parts.watch.start()
    parts.desk.start()
    parts.transcripts.start()
    # What is loaded by now stays: looking through it for garbage would stop all calls for tens of milliseconds.
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE)


def _stay_at_the_door(worker: Any, doors: list[Any]) -> None:
    """Let in who comes while the last answers go out: `Watch.enter` tells him to come back, a closed door would not."""
    from gevent.server import StreamServer

    for door in doors:
        StreamServer(door, handle=partial(worker.handle, door)).start()
