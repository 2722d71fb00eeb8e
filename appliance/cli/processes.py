"""The processes of a box, as the supervisor needs to know them."""

from __future__ import annotations

import http.client
import json
import os
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

from appliance.config import Home
from appliance.engines_client import EnginesClient
from appliance.errors import Conflict
from appliance.settings import Settings
from appliance.tls import unverified
from inference.lifecycle import Patience
from inference.supervisor import ProcessSpec

NAMES = ("engines", "gateway", "line", "learning", "console")
"""In the order they are started."""


def specs(home: Home, settings: Settings, wanted: tuple[str, ...]) -> list[ProcessSpec]:
    """What `appliance up` runs."""
    probes: dict[str, Callable[[], bool]] = {
        "engines": EnginesClient(home, timeout=2.0).healthy,
        "gateway": lambda: answers(settings.gateway.host, settings.gateway.port, settings.gateway.tls),
        "line": lambda: fresh(home.run / "line.json"),
        "learning": lambda: listens(home.run / "learning.sock"),
        "console": lambda: answers(settings.console.host, settings.console.port, settings.console.tls),
    }
    return [
        ProcessSpec(
            name=name,
            argv=[sys.executable, "-m", "appliance", "serve", name, "--home", str(home.root)],
            log=home.logs / f"{name}.log",
            probe=probes[name],
            patience=Patience(
                start_seconds=60.0,
                stop_seconds=15.0 + (settings.gateway.drain_seconds if name == "gateway" else 0.0),
                restart_limit=10,
            ),
            outlives=("gateway",) if name == "engines" else (),  # answers that drain need their engines
        )
        for name in NAMES
        if name in wanted
    ]


def answers(host: str, port: int, tls: bool = False) -> bool:
    """Does an HTTP server say that it is alive?"""
    connection = (
        http.client.HTTPSConnection(host, port, timeout=2.0, context=unverified())
        if tls
        else http.client.HTTPConnection(host, port, timeout=2.0)
    )
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def listens(path: Path) -> bool:
    """Does somebody accept connections on a Unix socket? (By a short name: such a path may have 107 bytes only.)"""
    folder = os.open(path.parent, os.O_PATH)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(2.0)
            probe.connect(f"/proc/self/fd/{folder}/{path.name}")
            return True
    except OSError:
        return False
    finally:
        os.close(folder)


def fresh(file: Path, seconds: float = 30.0) -> bool:
    """Was a status file written by a living process, and lately?"""
    try:
        status = json.loads(file.read_text(encoding="utf-8"))
        os.kill(int(status["pid"]), 0)
        return time.time() - float(status["at"]) < seconds
    except (OSError, ValueError, KeyError):
        return False


def resting(home: Home) -> str:
    """What to tell a person who gives the line work while it does not run; "" while it does."""
    return "" if fresh(home.run / "line.json") else "the line does not run; `appliance up` starts it"


def require_free(host: str, port: int, setting: str) -> None:
    """Raises Conflict when a port is taken."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise Conflict(
                f"cannot listen on {host}:{port}: {error.strerror}",
                f"stop what listens there (`ss -ltnp`), or set {setting} in appliance.toml",
            ) from error
