"""What the contract suite of engines runs over: each real engine, served by a real pool, as its clients meet it."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

from appliance.config import Home
from appliance.settings import Settings
from inference.engines.asking import trusting
from inference.engines.engine import Engine
from inference.engines.pool import Pool
from inference.engines.server import kinds
from tests.inference.engines_process import until

WAIT = 600.0
"""Seconds a start may take: vLLM needs minutes on a busy machine."""


@dataclass
class Served:
    """One model with its engine."""

    pool: Pool
    model: str
    process: bool = True
    """Whether its engine is a process of ours."""
    kill: Any = None
    """Ends the server behind it at once, and another that brings it back; for those that are no process of ours."""
    bring_back: Any = None
    seen: set[str] = field(default_factory=set)

    @property
    def row(self) -> dict[str, Any]:
        return next((row for row in self.pool.rows() if row["model"] == self.model), {})

    def becomes(self, *states: str, seconds: float = WAIT) -> dict[str, Any]:
        """The row once it is in one of these states; fails at once when it is parked."""

        def there() -> dict[str, Any] | None:
            row = self.row
            self.seen.add(row.get("state", ""))
            parked = row.get("state") == "failed" and row["next_try"] is None and "failed" not in states
            assert not parked, row["reason"]
            return row if row.get("state") in states else None

        found: dict[str, Any] = until(there, seconds)
        return found

    def talk(self) -> httpx.Client:
        """A client of the engine as the gateway is one: its address, key and CA from its row."""
        row = self.row
        key = Path(row["api_key_file"]).read_text().strip()
        return httpx.Client(
            base_url=row["url"], headers={"Authorization": f"Bearer {key}"}, timeout=120.0, trust_env=False,
            verify=trusting(row["ca_file"]),
        )  # fmt: skip

    def post(self, path: str, **body: Any) -> dict[str, Any]:
        with self.talk() as http:
            answer = http.post(path, json={"model": self.row["served_as"], **body})
        assert answer.status_code == 200, answer.text
        made: dict[str, Any] = answer.json()
        return made

    def stream(self, path: str, **body: Any) -> list[dict[str, Any]]:
        """The events of a stream, which must end as it should."""
        asked = {"model": self.row["served_as"], "stream": True, **body}
        with self.talk() as http, http.stream("POST", path, json=asked) as response:
            lines = [line.removeprefix("data: ") for line in response.iter_lines() if line.startswith("data: ")]
        assert response.status_code == 200 and lines[-1] == "[DONE]", lines[-3:]
        return [json.loads(line) for line in lines[:-1]]

    def processes(self) -> list[int]:
        """Its process and all that it started."""
        if not self.row.get("pid"):
            return []
        first = psutil.Process(self.row["pid"])
        return [first.pid, *(child.pid for child in first.children(recursive=True))]

    def crash(self) -> None:
        """End the server behind it as a crash would."""
        if self.process:
            os.kill(self.row["pid"], signal.SIGKILL)
        else:
            self.kill()


@contextmanager
def running_pool(home: Home, settings: Settings, kind: Engine | None = None) -> Iterator[Pool]:
    pool = Pool(home, settings, [kind] if kind else kinds(settings))
    stop = threading.Event()
    thread = threading.Thread(target=pool.run, args=(stop,))
    thread.start()
    try:
        yield pool
    finally:
        stop.set()
        thread.join(60)
        assert not thread.is_alive()


@contextmanager
def served(home: Home, settings: Settings, model: str, kind: Engine | None = None, **known: Any) -> Iterator[Served]:
    """A pool that serves one model, ready; by this kind of engine, or as the settings say."""
    with running_pool(home, settings, kind) as pool:
        pool.load(model)
        made = Served(pool, model, **known)
        made.becomes("ready")
        yield made
