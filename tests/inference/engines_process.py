"""A real engines process over a home of its own, and talk with the engines it starts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

from appliance.config import Home
from appliance.engines_client import EnginesClient


def make_home(root: Path, settings: str = "") -> Home:
    home = Home(root)
    for folder in (home.root, *home.folders):
        folder.mkdir(parents=True, exist_ok=True)
    home.settings_file.write_text(settings or "[engines]\nthreads = 2\ncontext_tokens = 512\nslots = 2\n")
    return home


@dataclass
class Engines:
    """A running engines process."""

    home: Home
    process: subprocess.Popen[bytes]

    @property
    def client(self) -> EnginesClient:
        return EnginesClient(self.home)

    def row(self, model: str) -> dict[str, Any]:
        """The row of a model; empty when it is not loaded."""
        return next((row for row in self.client.engines() if row["model"] == model), {})

    def published(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = json.loads((self.home.run / "engines.json").read_text())
        return rows

    def ready(self, model: str) -> dict[str, Any]:
        return self.client.wait_ready(self.client.load(model)["model"], 60)

    def talk(self, model: str) -> httpx.Client:
        """An HTTP client of the engine that serves a model, with its key."""
        row = self.row(model)
        key = Path(row["api_key_file"]).read_text().strip()
        headers = {"Authorization": f"Bearer {key}"}
        return httpx.Client(base_url=row["url"], headers=headers, timeout=60.0, trust_env=False)

    def embed(self, model: str, texts: Sequence[str]) -> list[list[float]]:
        with self.talk(model) as http:
            answer = http.post("/v1/embeddings", json={"input": list(texts)})
        assert answer.status_code == 200, answer.text
        return [row["embedding"] for row in answer.json()["data"]]

    def end(self) -> int:
        """Ask it to end; its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(30)
        finally:
            self.process.kill()
            self.process.wait()


def start(home: Home) -> Engines:
    """Start it and wait until it answers."""
    argv = [sys.executable, "-m", "appliance", "--home", str(home.root), "serve", "engines"]
    log = home.logs / "engines.log"
    with log.open("ab") as output:
        process = subprocess.Popen(argv, stdout=output, stderr=output, env=dict(os.environ))
    made = Engines(home, process)

    def up() -> bool:
        assert process.poll() is None, log.read_text()
        return made.client.healthy()

    until(up)
    return made


@contextmanager
def running_engines(home: Home) -> Iterator[Engines]:
    made = start(home)
    try:
        yield made
    finally:
        made.end()


def until(what: Callable[[], Any], seconds: float = 60.0) -> Any:
    """What `what()` gives once it is true."""
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)
    return found


def lives(pid: int) -> bool:
    with suppress(psutil.NoSuchProcess):
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    return False
