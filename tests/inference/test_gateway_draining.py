"""A gateway that was told to stop: answers under way come to their end, and whoever comes meanwhile is told so."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path
from typing import Any

import httpx

from inference.gateway.stream import event
from tests.inference.gateway_process import (
    CODER,
    EMBEDDER,
    Gateway,
    card,
    eventually,
    make_home,
    publish,
    running_gateway,
)
from tests.inference.mock_engine import WORDS, Exchange, MockEngine, delta
from tests.inference.test_traps import HELLO, LEFT


def test_new_connections_of_a_draining_gateway_are_told_to_come_back_at_every_door(
    tmp_path: Path, engine: MockEngine
) -> None:
    home = make_home(tmp_path)
    home.settings_file.write_text(
        home.settings_file.read_text().replace("max_body_mb = 1", "max_body_mb = 1\ndrain_seconds = 60")
    )
    (home.models / "ranker").mkdir()
    (home.models / "ranker" / "card.json").write_text(card("ranker", ("rerank",)).model_dump_json())
    publish(home, dict.fromkeys((CODER, EMBEDDER, "ranker"), engine.url))
    over = threading.Event()

    def talk_until_told(exchange: Exchange) -> None:
        exchange.begin_stream()
        for chunk in WORDS[:2]:
            exchange.chunk(event(chunk))
        while not over.wait(0.05):
            exchange.chunk(event(delta(content=".")))
        exchange.chunk(event(WORDS[-1]) + b"data: [DONE]\n\n")
        exchange.end_stream()

    engine.will(talk_until_told)
    body = {"model": CODER, "messages": HELLO, "stream": True}
    with running_gateway(home) as gateway:
        with gateway.http.stream("POST", "/v1/chat/completions", json=body) as response:
            lines = response.iter_lines()
            assert next(lines).startswith("data:")
            gateway.process.send_signal(signal.SIGTERM)
            assert eventually(lambda: fresh(gateway, "GET", "/readyz").status_code == 503)
            assert "is stopping" in fresh(gateway, "GET", "/readyz").json()["problems"][0]
            time.sleep(1.2)  # by now gunicorn has closed its own door
            for door, said in LEFT.items():
                for stream in (True, False):
                    check(fresh(gateway, "POST", door, {"model": CODER, **said, "stream": stream}), door)
            over.set()
            rest = [line for line in lines if line]
        assert rest[-1] == "data: [DONE]" and len(engine.asked) == 1
        assert gateway.process.wait(20) == 0


def check(told: httpx.Response, door: str) -> None:
    assert (told.status_code, told.headers["retry-after"]) == (503, "5"), f"{door}: {told.text}"
    if door.startswith("/v1/messages"):
        assert told.json()["error"]["type"] == "overloaded_error" and told.json()["type"] == "error"
    else:
        assert told.json()["error"]["code"] == "gateway_stopping"


def fresh(gateway: Gateway, method: str, path: str, body: Any = None) -> httpx.Response:
    """A call on a connection of its own."""
    headers = {"Authorization": f"Bearer {gateway.key}"}
    with httpx.Client(base_url=gateway.url, headers=headers, timeout=20, trust_env=False) as http:
        return http.request(method, path, json=body)
