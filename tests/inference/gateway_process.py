"""A real gateway process over a home made by hand."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from appliance.config import Home
from appliance.repair import ngram
from inference.keys import KeyStore
from models.card import Card

EMBEDDER, CODER, BIG = "all-minilm-l6-v2", "coder-7b", "coder-32b"
ROUTES = f"""
[[rule]]
name = "vectors"
when = {{ task = ["embedding"] }}
candidates = ["{EMBEDDER}"]

[[rule]]
name = "python repair"
when = {{ task = ["repair"], language = ["python"] }}
candidates = ["search", "{CODER}"]
fallback = ["{BIG}"]

[[rule]]
name = "talk"
when = {{ task = ["chat"] }}
candidates = ["{CODER}", "{BIG}"]
"""


@dataclass
class Gateway:
    """A running gateway."""

    home: Home
    port: int
    key: str
    process: subprocess.Popen[bytes]
    http: httpx.Client

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def usage(self) -> list[dict[str, Any]]:
        files = sorted(self.home.spool.glob("usage-*.jsonl"))
        return [json.loads(line) for file in files for line in file.read_text().splitlines()]

    def metric(self, line: str) -> float:
        """The value of a metric with its labels, as /metrics prints it; 0 when it is not there yet."""
        found = [row for row in self.http.get("/metrics").text.splitlines() if row.startswith(line + " ")]
        return float(found[0].rsplit(" ", 1)[1]) if found else 0.0


def card(id: str, tasks: tuple[str, ...], context: int = 4096, aliases: tuple[str, ...] = ()) -> Card:
    return Card(
        id=id, architecture="llama", parameters=1, context_tokens=context, embedding_length=3, quantisation="F16",
        sha256="ab" * 32, size_bytes=1000 + len(id), tasks=tasks, aliases=aliases,
    )  # fmt: skip


def make_home(root: Path, routes: str = ROUTES, settings: str = "") -> Home:
    """A home with three models on paper, rules and settings."""
    home = Home(root)
    for folder in (home.root, *home.folders):
        folder.mkdir(parents=True, exist_ok=True)
    for made in (
        card(EMBEDDER, ("embedding",), 256, ("minilm",)),
        card(CODER, ("chat", "repair"), 4096, ("coder",)),
        card(BIG, ("chat", "repair"), 16384),
    ):
        (home.models / made.id).mkdir(exist_ok=True)
        (home.models / made.id / "card.json").write_text(made.model_dump_json())
    home.routes_file.write_text(routes)
    home.settings_file.write_text(
        f"[gateway]\nport = {free_port()}\nqueue_seconds = 1.5\nkeepalive_seconds = 0.4\nrequest_timeout_seconds = 20\n"
        f"max_body_mb = 1\n[engines]\ncontext_tokens = 16384\n{settings}"
    )
    return home


def publish(home: Home, urls: Mapping[str, str], state: str = "ready") -> None:
    """Write `run/engines.json` as the engines process does; each model gets a key file."""
    rows = []
    for model, url in urls.items():
        key_file = home.run / f"{model}.key"
        if not key_file.exists():
            key_file.write_text(f"engine-key-of-{model}\n")
        rows.append(
            {"model": model, "state": state, "pid": 1, "since": datetime.now(UTC).isoformat(), "restarts": 0,
             "reason": "", "next_try": None, "engine": "mock", "url": url, "api_key_file": str(key_file),
             "context_tokens": 4096, "slots": 4, "threads": 1}
        )  # fmt: skip
    new = home.run / "engines.json.new"
    new.write_text(json.dumps(rows))
    new.replace(home.run / "engines.json")


def running_gateway(home: Home) -> AbstractContextManager[Gateway]:
    """Start a gateway, wait until it answers, end it (by force if it must be) afterwards."""
    return _running(home, "serve", "gateway")


def running_box(home: Home) -> AbstractContextManager[Gateway]:
    """The same with a box around it, which has no other process."""
    (home.policy / ngram.FILE).touch()  # which would take seconds to be made, for nobody
    return _running(home, "up", "--only", "gateway")


@contextmanager
def _running(home: Home, *command: str) -> Iterator[Gateway]:
    key = KeyStore(home.secrets / "keys.json").ensure("line")
    port = int(home.settings_file.read_text().split("port = ")[1].split()[0])
    gateway = Gateway(home, port, key, start(home, *command), client(port, key))
    try:
        wait_until_up(gateway)
        yield gateway
    finally:
        gateway.http.close()
        stop(gateway.process)


def start(home: Home, *command: str) -> subprocess.Popen[bytes]:
    argv = [sys.executable, "-m", "appliance", "--home", str(home.root), *(command or ("serve", "gateway"))]
    with (home.logs / "gateway.log").open("ab") as log:
        return subprocess.Popen(argv, stdout=log, stderr=log, env=dict(os.environ), start_new_session=True)


def client(port: int, key: str) -> httpx.Client:
    headers = {"Authorization": f"Bearer {key}"}
    return httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=30.0, trust_env=False)


def wait_until_up(gateway: Gateway, seconds: float = 30.0) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with suppress(httpx.TransportError):
            if gateway.http.get("/healthz").status_code == 200:
                return
        assert gateway.process.poll() is None, (gateway.home.logs / "gateway.log").read_text()
        time.sleep(0.05)
    raise AssertionError("the gateway did not come up: " + (gateway.home.logs / "gateway.log").read_text())


def stop(process: subprocess.Popen[bytes]) -> int:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
    return process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def eventually(what: Any, seconds: float = 10.0) -> bool:
    """Whether `what()` becomes true in time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if what():
            return True
        time.sleep(0.02)
    return bool(what())
