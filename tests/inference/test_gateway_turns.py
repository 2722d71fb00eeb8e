"""Two real models that may not be loaded together, under a mixed load: gateway, engines process and llama-server."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from appliance.config import Home
from models.importing import import_model
from models.registry import Registry
from tests.inference.gateway_process import Gateway, free_port, running_gateway, stop
from tests.inference.tiny_model import write_tiny_llama

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]
TURN = 2


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    home = Home(tmp_path_factory.mktemp("box"))
    for folder in (home.root, *home.folders):
        folder.mkdir(exist_ok=True)
    registry = Registry(home.models)
    for n, id in enumerate(("left", "right")):
        import_model(write_tiny_llama(home.root / f"{id}.gguf", seed=n), registry, id, tasks=("chat",))
    home.routes_file.write_text('[[rule]]\nname = "talk"\nwhen = { task = ["chat"] }\ncandidates = ["left", "right"]\n')
    home.settings_file.write_text(
        f"[gateway]\nport = {free_port()}\nturn_seconds = {TURN}\n[engines]\ncontext_tokens = 1024\nthreads = 1\n"
        '[models.left]\ngroup = "one at a time"\n[models.right]\ngroup = "one at a time"\n'
    )
    with (home.logs / "engines.log").open("wb") as log:
        engines = subprocess.Popen(
            [sys.executable, "-m", "appliance", "--home", str(home.root), "serve", "engines"], stdout=log, stderr=log
        )
    try:
        with running_gateway(home) as running:
            yield running
    finally:
        stop(engines)


class Watching:
    """Which engines there were, seen from outside."""

    def __init__(self, home: Home) -> None:
        self.file = home.run / "engines.json"
        self.pids: dict[int, str] = {}
        self.together = 0
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.look)

    def look(self) -> None:
        while not self.over.wait(0.02):
            told = self.file.read_text() if self.file.exists() else "[]"  # at first the engines say nothing yet
            rows = [row for row in json.loads(told) if row["pid"]]
            self.pids |= {row["pid"]: row["model"] for row in rows}
            self.together += len(rows) > 1

    def __enter__(self) -> Watching:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.thread.join()


def chat(gateway: Gateway, model: str, stream: bool = False) -> httpx.Response:
    body = {"model": model, "messages": [{"role": "user", "content": "Hello?"}], "max_tokens": 8, "stream": stream}
    return gateway.http.post("/v1/chat/completions", json=body, timeout=120)


def test_mixed_load_on_two_models_causes_few_swaps_and_starves_nobody(gateway: Gateway) -> None:
    calls = [("left", "right")[n % 2] for n in range(96)]
    bad: list[str] = []

    def one(n: int) -> float:
        began = time.monotonic()
        answer = chat(gateway, calls[n], stream=n % 3 == 0)
        if not answer.is_success or answer.headers["x-appliance-model"] != calls[n]:
            bad.append(answer.text)
        return time.monotonic() - began

    began = time.monotonic()
    with Watching(gateway.home) as seen, ThreadPoolExecutor(8) as clients:
        waited = list(clients.map(one, range(len(calls))))
    assert not bad, bad[:3]
    assert set(seen.pids.values()) == {"left", "right"} and not seen.together
    # In the order of arrival nearly every call would need a swap. A turn ends by its time, or a second after work does.
    assert len(seen.pids) <= 2 + time.monotonic() - began and len(seen.pids) <= len(calls) / 6
    assert max(waited) < 60
    told = gateway.http.get("/metrics").text
    assert re.search(r'appliance_engine_state\{model="(left|right)",state="ready"\} 1\.0', told)
    assert re.search(r"^appliance_ram_free_bytes \S+$", told, re.MULTILINE)
