"""An OpenAI-compatible engine that does what a test tells it: a real HTTP server, scripted per call."""

from __future__ import annotations

import json
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.http_serving import http_serving

Behaviour = Callable[["Exchange"], None]


@dataclass
class Exchange:
    """One request as it came, and the ways to answer it."""

    path: str
    body: dict[str, Any]
    headers: dict[str, str]
    handler: BaseHTTPRequestHandler
    engine: MockEngine

    def send(self, status: int, body: Any) -> None:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.handler.send_response(status)
        self.handler.send_header("Content-Type", "application/json")
        self.handler.send_header("Content-Length", str(len(raw)))
        self.handler.end_headers()
        self.handler.wfile.write(raw)

    def begin_stream(self) -> None:
        self.handler.send_response(200)
        self.handler.send_header("Content-Type", "text/event-stream")
        self.handler.send_header("Transfer-Encoding", "chunked")
        self.handler.end_headers()

    def chunk(self, data: bytes) -> None:
        self.handler.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    def end_stream(self) -> None:
        self.handler.wfile.write(b"0\r\n\r\n")

    def hang_up(self) -> None:
        self.handler.close_connection = True
        self.handler.connection.shutdown(socket.SHUT_RDWR)

    def wait_until_left(self, seconds: float = 20.0) -> bool:
        """Work until the other side hangs up; True when it did."""
        poll = select.poll()
        poll.register(self.handler.connection.fileno(), select.POLLRDHUP)
        left = bool(poll.poll(int(seconds * 1000)))
        if left:
            self.engine.left.set()
        self.handler.close_connection = True
        return left


@dataclass
class MockEngine:
    """The server, what it was asked, and what it shall do next (the last behaviour stays)."""

    url: str = ""
    asked: list[Exchange] = field(default_factory=list)
    script: deque[Behaviour] = field(default_factory=deque)
    left: threading.Event = field(default_factory=threading.Event)
    began: threading.Event = field(default_factory=threading.Event)

    def will(self, *behaviours: Behaviour) -> None:
        """Forget everything so far; behave like this from now on."""
        self.asked.clear()
        self.left.clear()
        self.began.clear()
        self.script = deque(behaviours)

    def handle(self, exchange: Exchange) -> None:
        self.asked.append(exchange)
        self.began.set()
        behaviour = self.script.popleft() if len(self.script) > 1 else self.script[0]
        behaviour(exchange)


@contextmanager
def mock_engine() -> Iterator[MockEngine]:
    """A running engine that talks until told otherwise."""
    engine = MockEngine()
    engine.will(talk())

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            try:
                engine.handle(Exchange(self.path, json.loads(raw), headers, self, engine))
            except (BrokenPipeError, ConnectionResetError):
                engine.left.set()
                self.close_connection = True

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with http_serving(Handler) as engine.url:
        yield engine


USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}


def delta(finish: str | None = None, **parts: Any) -> dict[str, Any]:
    """A chunk as llama-server writes it: a file's path for a name, and nulls."""
    return {
        "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 17, "model": "/models/model.gguf",
        "choices": [{"index": 0, "delta": parts, "finish_reason": finish}], "timings": {"x": 1},
    }  # fmt: skip


USAGE_CHUNK = {**delta(), "choices": [], "usage": USAGE}
WORDS = (delta(role="assistant", content=None), delta(content="Hello"), delta(content=" there"), delta("stop"))


def whole_answer(text: str = "Hello there", **message: Any) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1", "object": "chat.completion", "created": 17, "model": "/models/model.gguf",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": text, **message}, "finish_reason": "stop"}
        ],
        "usage": USAGE, "timings": {"x": 1},
    }  # fmt: skip


def say(*chunks: Any, usage: bool = True, pause: float = 0.0) -> Behaviour:
    """Stream these chunks to the end."""

    def behave(exchange: Exchange) -> None:
        exchange.begin_stream()
        for chunk in (*chunks, *([USAGE_CHUNK] if usage else [])):
            time.sleep(pause)
            exchange.chunk(b"data: " + json.dumps(chunk).encode() + b"\n\n")
        exchange.chunk(b"data: [DONE]\n\n")
        exchange.end_stream()

    return behave


def answer(body: Any, status: int = 200) -> Behaviour:
    return lambda exchange: exchange.send(status, body)


def fail(status: int, message: str = "no", **more: Any) -> Behaviour:
    return answer({"error": {"message": message, "code": status, **more}}, status)


def talk() -> Behaviour:
    """A sensible answer to everything."""

    def behave(exchange: Exchange) -> None:
        if exchange.path == "/v1/embeddings":
            exchange.send(200, vectors(exchange.body["input"]))
        elif exchange.path == "/v1/rerank":
            rows = [{"index": n, "relevance_score": 1.0 / (n + 1)} for n in range(len(exchange.body["documents"]))]
            exchange.send(200, {"results": rows, "usage": USAGE})
        elif exchange.path == "/v1/completions" and not exchange.body.get("stream"):
            choice = {"index": 0, "text": "Hello there", "finish_reason": "stop", "logprobs": None}
            exchange.send(200, {"id": "cmpl-1", "object": "text_completion", "created": 17, "choices": [choice],
                                "usage": USAGE})  # fmt: skip
        elif exchange.path == "/v1/completions":
            head = {"id": "cmpl-1", "object": "text_completion", "created": 17}
            chunks = [{**head, "choices": [{"index": 0, "text": text, "finish_reason": end}]}
                      for text, end in (("Hello", None), (" there", None), ("", "stop"))]  # fmt: skip
            say(*chunks, usage=False)(exchange)
        elif exchange.body.get("stream"):
            say(*WORDS)(exchange)
        else:
            exchange.send(200, whole_answer())

    return behave


def vectors(texts: str | Sequence[str]) -> dict[str, Any]:
    """Three numbers a text, not of unit length."""
    inputs = [texts] if isinstance(texts, str) or isinstance(texts[0], int) else texts
    data = [{"object": "embedding", "index": n, "embedding": [len(text), 1.0, 0.5]} for n, text in enumerate(inputs)]
    return {"object": "list", "data": data, "model": "x", "usage": {"prompt_tokens": 4, "total_tokens": 4}}


def hang_up(exchange: Exchange) -> None:
    """Close the connection without a word."""
    exchange.hang_up()


def prefill_for_ever(exchange: Exchange) -> None:
    """Say nothing until the other side has left."""
    exchange.wait_until_left()


def talk_then_die(exchange: Exchange) -> None:
    """Two words, then a dead connection."""
    exchange.begin_stream()
    for chunk in WORDS[:2]:
        exchange.chunk(b"data: " + json.dumps(chunk).encode() + b"\n\n")
    exchange.hang_up()


def talk_for_ever(exchange: Exchange) -> None:
    """A word every 50 ms until the other side has left."""
    exchange.begin_stream()
    for _ in range(400):
        exchange.chunk(b"data: " + json.dumps(WORDS[1]).encode() + b"\n\n")
        time.sleep(0.05)


def prefill(seconds: float, then: Behaviour) -> Behaviour:
    def behave(exchange: Exchange) -> None:
        time.sleep(seconds)
        then(exchange)

    return behave
