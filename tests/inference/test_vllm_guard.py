"""The guard inside vLLM's server, asked as a server asks it."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import pytest

from inference.engines.vllm import GUARD, WITHIN
from inference.engines.within_vllm.appliance_guard import Guard

KEY = ((b"host", b"x"), (b"Authorization", b"Bearer secret"))


async def app(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "passed", "path": scope.get("path", "")})


def sent(path: str, headers: tuple[tuple[bytes, bytes], ...] = KEY, kind: str = "http", **more: Any) -> list[Any]:
    found: list[Any] = []

    async def send(message: Any) -> None:
        found.append(message)

    async def receive() -> Any:
        return {}

    asyncio.run(Guard(app)({"type": kind, "path": path, "headers": headers, **more}, receive, send))
    return found


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_API_KEY", "secret")


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/health", "/metrics", "/sleep", "/wake_up", "/is_sleeping"])
def test_who_has_the_key_gets_to_the_paths_that_are_used(path: str) -> None:
    assert sent(path) == [{"type": "passed", "path": path}]


@pytest.mark.parametrize(
    "headers",
    [(), ((b"authorization", b"Bearer guess"),), ((b"authorization", b"secret"),), ((b"authorization", b""), *KEY)],
)
@pytest.mark.parametrize(("path", "method"), [("/sleep", "POST"), ("/v1/models", "GET"), ("/health", "OPTIONS")])
def test_nobody_else_gets_anywhere(headers: tuple[tuple[bytes, bytes], ...], path: str, method: str) -> None:
    start, body = sent(path, headers, method=method)
    assert start["status"] == 401 and json.loads(body["body"])["error"]["code"] == 401


@pytest.mark.parametrize("path", ["/collective_rpc", "/invocations", "/server_info", "/v1", "/sleep/", "/", "/docs"])
def test_paths_that_nobody_uses_are_not_there_even_with_the_key(path: str) -> None:
    assert sent(path)[0]["status"] == 404


def test_a_websocket_is_refused_and_the_servers_own_start_is_let_through() -> None:
    assert sent("/v1/realtime", (), "websocket") == [{"type": "websocket.close", "code": 1008}]
    assert sent("", kind="lifespan") == [{"type": "passed", "path": ""}]


def test_without_a_key_there_is_no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VLLM_API_KEY")
    with pytest.raises(KeyError):
        Guard(app)


def test_vllm_finds_it_beside_nothing_else() -> None:
    module, name = GUARD.rsplit(".", 1)
    assert {file.stem for file in WITHIN.glob("*.py")} == {module, "__init__"} and name == Guard.__name__
    assert module not in sys.stdlib_module_names
