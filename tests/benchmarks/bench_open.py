"""How a new call fares while 2,000 idle connections and 200 streams are open, and what an open stream costs in memory.

    python tests/benchmarks/bench_open.py [--idle 2000] [--streams 200] [--calls 400]

The mock engine answers whole requests at once and streams a piece a second. Calls go one after another, directly and
through the gateway in turns, before anything is open, and with all of it open.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).parents[2]))

from bench_gateway import Mock, Way, length_in, mock_engine, request_bytes

from tests.inference.gateway_process import CODER, make_home, publish, running_gateway

CHAT = {"model": CODER, "messages": [{"role": "user", "content": "Hello?"}]}
PIECE = {"id": "c", "object": "chat.completion.chunk", "created": 17, "model": "m",
         "choices": [{"index": 0, "delta": {"content": "word"}, "finish_reason": None}]}  # fmt: skip
PATH = "/v1/chat/completions"
AT_ONCE = 50
"""Connections that are being opened at the same time."""


class Patient(Mock):
    """An engine whose streams never end."""

    def write(self, n: int) -> None:
        if not self.transport.is_closing():
            data = b"data: " + json.dumps(PIECE).encode() + b"\n\n"
            self.transport.write(b"%x\r\n%s\r\n" % (len(data), data))
            asyncio.get_running_loop().call_later(1.0, self.write, n + 1)


async def opened(port: int, request: bytes, whole: bool) -> asyncio.StreamWriter:
    """A connection that has had one answer, or the first piece of one that goes on."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise SystemExit(f"unexpected answer: {head!r}")
    await (reader.readexactly(length_in(head)) if whole else reader.readuntil(b"\n\n"))
    if not whole:
        writer._reader = asyncio.ensure_future(drain(reader))  # type: ignore[attr-defined]
    return writer


async def drain(reader: asyncio.StreamReader) -> None:
    while await reader.read(1 << 16):
        pass


async def many(count: int, port: int, request: bytes, whole: bool) -> list[asyncio.StreamWriter]:
    gate = asyncio.Semaphore(AT_ONCE)

    async def one() -> asyncio.StreamWriter:
        async with gate:
            return await opened(port, request, whole)

    return list(await asyncio.gather(*(one() for _ in range(count))))


async def calls(way: Way, count: int) -> None:
    """One after another, each on a connection of its own, as a client that just came."""
    request = request_bytes(way.key, PATH, {**CHAT, "stream": False})
    for _ in range(count):
        began = time.perf_counter()
        writer = await opened(way.port, request, whole=True)
        way.times.append(time.perf_counter() - began)
        writer.close()


def memory(process: psutil.Process) -> float:
    """MiB of the gateway, its worker included."""
    return sum(one.memory_info().rss for one in (process, *process.children(recursive=True))) / 2**20


async def measure(gateway: Any, engine: int, options: argparse.Namespace) -> None:
    process = psutil.Process(gateway.process.pid)

    async def compare(name: str) -> None:
        direct, through = Way(engine, "none"), Way(gateway.port, gateway.key)
        for _ in range(4):
            await calls(direct, options.calls // 4)
            await calls(through, options.calls // 4)
        cells = []
        for part in (0.5, 0.99):
            a, b = direct.quantile(part), through.quantile(part)
            cells.append(f"p{part * 100:.0f} {b:7.2f} ms (added {b - a:7.2f})")
        print(f"{name:48}{'  '.join(cells)}  memory {memory(process):6.1f} MiB", flush=True)

    await compare("nothing open")
    whole = request_bytes(gateway.key, PATH, {**CHAT, "stream": False})
    idle = await many(options.idle, gateway.port, whole, whole=True)
    await compare(f"{len(idle)} idle connections")
    before = memory(process)
    stream = request_bytes(gateway.key, PATH, {**CHAT, "stream": True})
    streams = await many(options.streams, gateway.port, stream, whole=False)
    await compare(f"{len(idle)} idle connections, {len(streams)} open streams")
    print(f"an open stream takes {(memory(process) - before) * 1024 / len(streams):.0f} KiB")
    for writer in (*idle, *streams):
        writer.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--idle", type=int, default=2000)
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--calls", type=int, default=400)
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with mock_engine(Patient) as port, tempfile.TemporaryDirectory() as folder:
        home = make_home(Path(folder))
        publish(home, {CODER: f"http://127.0.0.1:{port}"})
        with running_gateway(home) as gateway:
            asyncio.run(measure(gateway, port, options))


if __name__ == "__main__":
    main()
