"""Added latency of the gateway: the same mock engine called directly and through the gateway, in one run.

Prints, for 1 and 16 clients with kept connections, p50 and p99 of a whole chat answer and of the first piece of a
stream, and requests per second. "added" is the difference of the medians (or 99th percentiles); "ratio" divides them.
The mock answers at once, so the ratio is the worst there can be: a real engine takes milliseconds to minutes. Clients
are closed loops: at 16 they queue for the gateway's one process, so latency there is the inverse of its throughput.
Rounds alternate between both ways. Client, mock and gateway share the machine's cores.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from multiprocessing import get_context
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.inference.gateway_process import CODER, make_home, publish, running_gateway

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


def serve_mock(pipe: Any) -> None:
    """The mock's process."""

    async def run() -> None:
        server = await asyncio.get_running_loop().create_server(Mock, "127.0.0.1", 0, backlog=512)
        pipe.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())


async def client(port: int, key: str, stream: bool, until: float, times: list[float]) -> None:
    """A closed loop on one connection; notes seconds to the whole answer, or to a stream's first piece."""
    body = json.dumps({"model": CODER, "messages": [{"role": "user", "content": "Hello?"}], "stream": stream}).encode()
    request = (
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        + b"Authorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s" % (key.encode(), len(body), body)
    )
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
            await reader.readexactly(length_in(head))
            times.append(time.perf_counter() - began)
    writer.close()
    await writer.wait_closed()


def measure(port: int, key: str, clients: int, stream: bool, seconds: float) -> tuple[list[float], float]:
    """Latencies, and answers per second."""

    async def run() -> tuple[list[float], float]:
        times: list[float] = []
        began = time.perf_counter()
        await asyncio.gather(*(client(port, key, stream, began + seconds, times) for _ in range(clients)))
        return times, len(times) / (time.perf_counter() - began)

    return asyncio.run(run())


def report(name: str, direct: tuple[list[float], list[float]], through: tuple[list[float], list[float]]) -> None:
    cells = [f"{name:<26}"]
    for part in (0.5, 0.99):
        a, b = (quantile(times, part) * 1000 for times, _ in (direct, through))
        cells.append(f"p{part * 100:.0f} {a:7.3f} -> {b:7.3f} ms (added {b - a:7.3f}, ratio {b / a:5.1f})")
    rates = [statistics.mean(rates) for _, rates in (direct, through)]
    cells.append(f"{rates[0]:7.0f} -> {rates[1]:6.0f} /s")
    print("  ".join(cells), flush=True)


def quantile(times: list[float], part: float) -> float:
    return sorted(times)[min(len(times) - 1, int(part * len(times)))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0, help="of one round")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    mock = context.Process(target=serve_mock, args=(theirs,), daemon=True)
    mock.start()
    engine = ours.recv()
    try:
        with tempfile.TemporaryDirectory() as folder:
            home = make_home(Path(folder))
            publish(home, {CODER: f"http://127.0.0.1:{engine}"})
            with running_gateway(home) as gateway:
                print("direct -> through the gateway", flush=True)
                for stream in (False, True):
                    for clients in (1, 16):
                        run_pair(engine, gateway.port, gateway.key, clients, stream, options)
    finally:
        mock.terminate()
        mock.join()


def run_pair(engine: int, gateway: int, key: str, clients: int, stream: bool, options: argparse.Namespace) -> None:
    """Both ways in turns, after a short warm-up of each."""
    ways: dict[int, tuple[list[float], list[float]]] = {engine: ([], []), gateway: ([], [])}
    for port in ways:
        measure(port, key, clients, stream, 0.3)
    for _ in range(options.rounds):
        for port, (times, rates) in ways.items():
            found, rate = measure(port, key, clients, stream, options.seconds)
            times += found
            rates.append(rate)
    what = "stream, first piece" if stream else "whole answer"
    report(f"{what}, {clients} clients", ways[engine], ways[gateway])


if __name__ == "__main__":
    main()
