"""Rough treatment: clients and engines that break off at any moment. Nothing hangs, leaks or stays counted."""

from __future__ import annotations

import contextlib
import random
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.inference.gateway_process import (
    BIG,
    CODER,
    Gateway,
    eventually,
    make_home,
    publish,
    running_gateway,
)
from tests.inference.mock_engine import (
    MockEngine,
    fail,
    hang_up,
    prefill,
    talk,
    talk_for_ever,
    talk_then_die,
)

pytestmark = pytest.mark.integration
SEED = 20
BODY = b'{"model": "auto", "messages": [{"role": "user", "content": "x"}], "stream": true}'


@pytest.fixture
def gateway(tmp_path: Path, engine: MockEngine) -> Iterator[Gateway]:
    home = make_home(tmp_path)
    publish(home, {CODER: engine.url, BIG: engine.url})
    engine.will(talk())
    with running_gateway(home) as running:
        yield running


def raw(gateway: Gateway, head: str, body: bytes = b"", end: bool = False) -> bytes:
    """Send these bytes; what comes back until the other side closes or is silent for two seconds."""
    with socket.create_connection(("127.0.0.1", gateway.port)) as line:
        line.sendall(head.replace("\n", "\r\n").encode() + body)
        if end:
            line.shutdown(socket.SHUT_WR)
        line.settimeout(2)
        found = b""
        with contextlib.suppress(TimeoutError, ConnectionResetError):
            while data := line.recv(65536):
                found += data
        return found


def post_head(gateway: Gateway, *more: str) -> str:
    lines = ("POST /v1/chat/completions HTTP/1.1", "Host: x", f"Authorization: Bearer {gateway.key}", *more)
    return "\n".join(lines) + "\n\n"


def test_a_body_in_chunks_is_read(gateway: Gateway) -> None:
    chunked = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (BODY[:10], BODY[10:])) + b"0\r\n\r\n"
    assert b"[DONE]" in raw(gateway, post_head(gateway, "Transfer-Encoding: chunked", "Connection: close"), chunked)


def test_a_body_in_chunks_that_is_too_large_is_413(gateway: Gateway) -> None:
    chunked = b"40000\r\n" + b"x" * 0x40000 + b"\r\n"
    answer = raw(gateway, post_head(gateway, "Transfer-Encoding: chunked"), chunked * 6 + b"0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 413") and b'"error"' in answer


def test_a_body_shorter_than_promised_does_not_disturb_others(gateway: Gateway) -> None:
    raw(gateway, post_head(gateway, "Content-Length: 5000"), BODY, end=True)
    assert gateway.http.get("/v1/models").status_code == 200
    assert eventually(lambda: gateway.metric("appliance_gateway_in_flight") == 0)


def test_a_second_call_on_a_kept_connection_after_a_refused_one_is_served(gateway: Gateway) -> None:
    for content in (b"x" * 1_200_000, b"{", b"{}"):
        assert gateway.http.post("/v1/chat/completions", content=content).status_code in (400, 413)
        assert gateway.http.get("/healthz").status_code == 200


@pytest.mark.timeout(180)
def test_nothing_hangs_or_leaks_when_both_sides_break_off_at_random(gateway: Gateway, engine: MockEngine) -> None:
    chance = random.Random(SEED)
    choices = [
        talk(), talk(), hang_up, fail(500, "odd"), fail(503, "busy"), talk_then_die, talk_for_ever,
        prefill(0.3, talk()), prefill(0.8, hang_up),
    ]  # fmt: skip

    def behave(exchange: Any) -> None:
        chance.choice(choices)(exchange)

    engine.will(behave)
    handles = Path(f"/proc/{worker_of(gateway)}/fd")

    def use(n: int) -> str:
        mood = random.Random(SEED + n)
        leaves = mood.random() < 0.5
        with httpx.Client(base_url=gateway.url, trust_env=False, timeout=30) as client:
            headers = {"Authorization": f"Bearer {gateway.key}", "Content-Type": "application/json"}
            with contextlib.suppress(httpx.TransportError):
                content = BODY if mood.random() < 0.7 else BODY.replace(b"true", b"false")
                with client.stream("POST", "/v1/chat/completions", content=content, headers=headers) as response:
                    until = time.monotonic() + (mood.random() if leaves else 2)
                    for _ in response.iter_raw():
                        if time.monotonic() > until:
                            return "left"
                    return str(response.status_code)
        return "broken"

    with ThreadPoolExecutor(16) as pool:
        ended = list(pool.map(use, range(96), timeout=120))
    assert len(ended) == 96 and "200" in ended and "left" in ended
    engine.will(talk())
    assert eventually(lambda: gateway.metric("appliance_gateway_in_flight") == 0)
    assert gateway.metric("appliance_gateway_waiting") == 0
    assert len(gateway.usage()) == 96
    # what stays open: the listener, the loop's own, the kept connections to the engine, and ours
    assert eventually(lambda: len(list(handles.iterdir())) < 16 + 64)
    assert gateway.http.post("/v1/chat/completions", content=BODY).text.endswith("data: [DONE]\n\n")
    log = (gateway.home.logs / "gateway.log").read_text()
    assert "Traceback" not in log, log


def worker_of(gateway: Gateway) -> str:
    pid = gateway.process.pid
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0]
