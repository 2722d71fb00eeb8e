"""Added latency of the gateway: the same engine called directly and through the gateway, in one run.

Prints, for 1 and 16 clients with kept connections, p50 and p99 in milliseconds and requests per second: of whole chat
answers and of the first piece of a stream with a mock engine, and of a vector with the box's real embedder. "added" is
the difference of the medians (or 99th percentiles), "ratio" their quotient. The mock answers at once, so its ratios
are the worst there can be: a real engine takes milliseconds to minutes. Clients are closed loops: at 16 they queue for
the gateway's one process, so latency there is the inverse of its throughput. Rounds alternate between both ways.
Client, engine and gateway share the machine's cores.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).parents[2]))

from appliance.gateway_client import GatewayModel
from models.minilm import ensure_default
from models.registry import Registry
from tests.inference.gateway_process import CODER, EMBEDDER, make_home, publish, running_gateway, stop

ANSWER = json.dumps(
    {
        "id": "chatcmpl-1", "object": "chat.completion", "created": 17, "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello there"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
    }
).encode()  # fmt: skip
WHOLE = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(ANSWER), ANSWER)
STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
WORDS = 8
"""Pieces in a stream, each sent by itself."""


class Mock(asyncio.Protocol):
    """An engine that answers every POST at once, whole or as a stream."""

    def connection_made(self, transport: Any) -> None:
        self.transport, self.data = transport, b""

    def data_received(self, data: bytes) -> None:
        self.data += data
        head, found, body = self.data.partition(b"\r\n\r\n")
        if not found or len(body) < length_in(head):
            return
        self.data = b""
        if b'"stream":true' in body.replace(b" ", b""):
            self.transport.write(STREAM_HEAD)
            self.write(0)
        else:
            self.transport.write(WHOLE)

    def write(self, n: int) -> None:
        delta = {"content": "word"} if n < WORDS else {}
        chunk = {"id": "c", "object": "chat.completion.chunk", "created": 17, "model": "m",
                 "choices": [{"index": 0, "delta": delta, "finish_reason": None if n < WORDS else "stop"}]}  # fmt: skip
        data = b"data: " + json.dumps(chunk).encode() + b"\n\n"
        if n == WORDS:
            data += b"data: [DONE]\n\n"
        self.transport.write(b"%x\r\n%s\r\n" % (len(data), data) + (b"0\r\n\r\n" if n == WORDS else b""))
        if n < WORDS:
            asyncio.get_running_loop().call_soon(self.write, n + 1)


def length_in(head: bytes) -> int:
    lines = head.lower().split(b"\r\n")
    return next((int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length:")), 0)


def serve_mock(pipe: Any, protocol: type[Mock]) -> None:
    """The mock's process."""

    async def run() -> None:
        server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0, backlog=4096)
        pipe.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())


@dataclass(frozen=True)
class Way:
    """One way to the same answer."""

    port: int
    key: str
    times: list[float] = field(default_factory=list)
    """Seconds to the whole answer, or to a stream's first piece."""
    rates: list[float] = field(default_factory=list)
    """Answers per second, one number a round."""

    def quantile(self, part: float) -> float:
        return sorted(self.times)[min(len(self.times) - 1, int(part * len(self.times)))] * 1000


def request_bytes(key: str, path: str, body: dict[str, Any]) -> bytes:
    raw = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nAuthorization: Bearer {key}\r\n"
    return f"{head}Content-Length: {len(raw)}\r\n\r\n".encode() + raw


async def client(port: int, request: bytes, stream: bool, until: float, times: list[float]) -> None:
    """A closed loop on one connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while time.perf_counter() < until:
        began = time.perf_counter()
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"unexpected answer: {head!r}")
        if stream:
            await reader.readuntil(b"\n\n")
            times.append(time.perf_counter() - began)
            await reader.readuntil(b"0\r\n\r\n")
        else:
            await (reader.readexactly(length) if (length := length_in(head)) else reader.readuntil(b"0\r\n\r\n"))
            times.append(time.perf_counter() - began)
        if b"connection: close" in head.lower():  # llama-server's way after a hundred calls
            writer.close()
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.close()
    await writer.wait_closed()


def measure(way: Way, path: str, body: dict[str, Any], clients: int, seconds: float) -> None:
    """One round."""

    async def run() -> None:
        request, stream = request_bytes(way.key, path, body), body.get("stream", False)
        began, before = time.perf_counter(), len(way.times)
        await asyncio.gather(*(client(way.port, request, stream, began + seconds, way.times) for _ in range(clients)))
        way.rates.append((len(way.times) - before) / (time.perf_counter() - began))

    asyncio.run(run())


def measured(
    ways: Sequence[Way], path: str, body: dict[str, Any], clients: int, options: argparse.Namespace
) -> list[Way]:
    """All ways in turns, after a short warm-up of each."""
    fresh = [Way(way.port, way.key) for way in ways]
    for way in fresh:
        measure(way, path, body, clients, 0.3)
        way.times.clear(), way.rates.clear()
    for _ in range(options.rounds):
        for way in fresh:
            measure(way, path, body, clients, options.seconds)
    return fresh


def compare(name: str, ways: tuple[Way, Way], path: str, body: dict[str, Any], options: argparse.Namespace) -> None:
    """Directly and through the gateway, for every number of clients."""
    for clients in (1, 16):
        direct, through = measured(ways, path, body, clients, options)
        cells = [f"{name}, {clients} client{'s' * (clients > 1)}".ljust(34)]
        for part in (0.5, 0.99):
            a, b = direct.quantile(part), through.quantile(part)
            cells.append(f"p{part * 100:.0f} {a:7.3f} -> {b:7.3f} ms (added {b - a:7.3f}, ratio {b / a:5.2f})")
        cells.append(f"{statistics.mean(direct.rates):7.0f} -> {statistics.mean(through.rates):6.0f} /s")
        print("  ".join(cells), flush=True)


@contextmanager
def mock_engine(protocol: type[Mock] = Mock) -> Iterator[int]:
    """The mock in a process of its own; its port."""
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    mock = context.Process(target=serve_mock, args=(theirs, protocol), daemon=True)
    mock.start()
    try:
        yield ours.recv()
    finally:
        mock.terminate()
        mock.join()


def against_mock(options: argparse.Namespace) -> None:
    """Chat, whole and streamed, with an engine that takes no time."""
    chat = {"model": CODER, "messages": [{"role": "user", "content": "Hello?"}]}
    with mock_engine() as engine, tempfile.TemporaryDirectory() as folder:
        home = make_home(Path(folder))
        publish(home, {CODER: f"http://127.0.0.1:{engine}"})
        with running_gateway(home) as gateway:
            ways = Way(engine, "none"), Way(gateway.port, gateway.key)
            compare("mock: whole answer", ways, "/v1/chat/completions", {**chat, "stream": False}, options)
            compare("mock: first piece", ways, "/v1/chat/completions", {**chat, "stream": True}, options)


def against_embedder(options: argparse.Namespace) -> None:
    """Short texts to vectors, with the box's own embedder on llama-server."""
    with tempfile.TemporaryDirectory() as folder:
        home = make_home(Path(folder))
        shutil.rmtree(home.models / EMBEDDER)
        ensure_default(Registry(home.models), lambda line: None)
        engines = subprocess.Popen([sys.executable, "-m", "appliance", "--home", folder, "serve", "engines"])
        try:
            with running_gateway(home) as gateway:
                model = GatewayModel(gateway.url, gateway.key)
                model.embed(["load"])
                model.close()
                (row,) = json.loads((home.run / "engines.json").read_text())
                key = Path(row["api_key_file"]).read_text().strip()
                ways = Way(urlsplit(row["url"]).port or 0, key), Way(gateway.port, gateway.key)
                body = {"model": EMBEDDER, "input": "a short text about a failing test"}
                compare("llama-server: vector", ways, "/v1/embeddings", body, options)
        finally:
            stop(engines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=1.5, help="of one round")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print("direct -> through the gateway", flush=True)
    against_mock(options)
    against_embedder(options)


if __name__ == "__main__":
    main()
