"""Stands before vLLM's server: every path wants the engine's key, and those that nobody here uses are not there.

vLLM asks for its key under /v1 alone. Of the rest, /invocations answers prompts, and with the doors for developers that
sleeping needs come such as run any method of a worker. vLLM loads this file by its option `--middleware`.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

PATHS = frozenset({"/health", "/metrics", "/tokenize", "/sleep", "/wake_up", "/is_sleeping"})
UNDER = "/v1/"
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Scope]]
Send = Callable[[Scope], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class Guard:
    """ASGI middleware."""

    def __init__(self, app: App) -> None:
        """Raises KeyError without a key in the environment: better no server than an open one."""
        self._app = app
        self._wanted = _digest(b"Bearer " + os.environ["VLLM_API_KEY"].encode())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, or refuse."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif not self._knows(scope["headers"]):
            await _refuse(scope, send, 401, "it wants its key")
        elif scope["path"] not in PATHS and not scope["path"].startswith(UNDER):
            await _refuse(scope, send, 404, "there is no such path")
        else:
            await self._app(scope, receive, send)

    def _knows(self, headers: Iterable[tuple[bytes, bytes]]) -> bool:
        shown = next((value for name, value in headers if name.lower() == b"authorization"), b"")
        return hmac.compare_digest(_digest(shown), self._wanted)


def _digest(text: bytes) -> bytes:
    return hashlib.sha256(text).digest()


async def _refuse(scope: Scope, send: Send, status: int, why: str) -> None:
    if scope["type"] != "http":
        await send({"type": "websocket.close", "code": 1008})
        return
    body = json.dumps({"error": {"message": why, "type": "invalid_request_error", "param": None, "code": status}})
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body.encode()})
