"""The console's real process, as a client meets it over a real socket."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from appliance.cli.processes import answers
from appliance.config import Home, render
from appliance.settings import Settings


@contextmanager
def served(home: Home, settings: Settings | None = None) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """The real process on a free port."""
    chosen = settings or Settings()
    home.settings_file.write_text(render(chosen))
    if not (home.secrets / "audit.key").exists():  # without it nothing starts over a ledger that has events
        (home.secrets / "audit.key").write_bytes(os.urandom(32))
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with (home.logs / "console.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "appliance", "serve", "console", "--home", str(home.root)],
            env={**os.environ, "APPLIANCE_CONSOLE_PORT": str(port)}, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        end = time.monotonic() + 60
        while not answers("127.0.0.1", port, chosen.console.tls):
            assert process.poll() is None and time.monotonic() < end, (home.logs / "console.log").read_text()
            time.sleep(0.1)
        yield process, port
    finally:
        process.kill()
        process.wait()


def get(port: int, path: str, **headers: str) -> http.client.HTTPResponse:
    """An answer whose `close` also closes its connection."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", path, headers={"Connection": "close", **headers})
    return connection.getresponse()
