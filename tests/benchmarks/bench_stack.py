"""What is left of an engine's throughput behind the gateway: the same llama-server asked directly and through it.

    python tests/benchmarks/bench_stack.py [--calls 4] [--rounds 5] [--peer]

A writer with random weights, whole answers and streams, at 1, 4, 8 and 16 clients. A round is the same number of calls
both ways, one right after the other, the first in turns, so that other work on the machine meets both alike. Printed
are the medians over the rounds: tokens per second by the wall, CPU of all that serves (engine, and gateway where it is
in the way) for each token, and of each the ratio within a round. Wall ratios of a busy machine scatter; those of CPU do
not. With `--peer`, `llama_cpp.server` of the box's own llama-cpp-python reads the same weights and is a third way; what
it needs beside is in the environment that `python -m installer environment peers` makes. Clients are threads of this
process, which shares the cores with engine and gateway.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import httpx
import psutil

sys.path.insert(0, str(Path(__file__).parents[2]))

from appliance.config import Home
from installer.checkout import Checkout
from installer.environment import ready
from models.importing import import_model
from models.registry import Registry
from tests.inference.engines_process import until
from tests.inference.gateway_process import free_port, make_home, running_gateway, stop
from tests.inference.tiny_model import write_tiny_llama

SETTINGS = "[gateway]\nport = {port}\n[engines]\ncontext_tokens = 512\nslots = 16\n"
BODY = {"model": "writer", "prompt": "def total(prices):\n" * 4, "max_tokens": 64, "ignore_eos": True}


def whole(http: httpx.Client) -> int:
    answer = http.post("/v1/completions", json=BODY)
    answer.raise_for_status()
    done: int = answer.json()["usage"]["completion_tokens"]
    return done


def streamed(http: httpx.Client) -> int:
    body = {**BODY, "stream": True, "stream_options": {"include_usage": True}}
    done = pieces = 0
    with http.stream("POST", "/v1/completions", json=body) as answer:
        answer.raise_for_status()
        for line in answer.iter_lines():
            if line.startswith("data: {"):
                chunk = json.loads(line[6:])
                done = (chunk.get("usage") or {}).get("completion_tokens", done)
                pieces += bool(chunk["choices"] and chunk["choices"][0].get("text"))
    return done or pieces  # a server that does not count


def once(call: Callable[[httpx.Client], int], http: httpx.Client) -> int:
    """llama-server closes a connection after a hundred calls, sometimes while the next one is on its way."""
    while True:
        with contextlib.suppress(httpx.RemoteProtocolError):
            return call(http)


@dataclass
class Round:
    """What the calls of one round made and cost, one way."""

    tokens: int
    wall: float
    cpu: float

    @property
    def pace(self) -> float:
        return self.tokens / self.wall

    @property
    def cost(self) -> float:
        """Microseconds of CPU for a token."""
        return self.cpu / self.tokens * 1e6


def spent(pids: Iterable[int]) -> float:
    times = [psutil.Process(pid).cpu_times() for pid in pids]
    return sum(one.user + one.system for one in times)


def measured(
    call: Callable[[httpx.Client], int], http: httpx.Client, clients: int, calls: int, pids: list[int]
) -> Round:
    """So many calls by each of so many clients at once; `pids` are the processes whose CPU counts."""
    before, began = spent(pids), time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        tokens = sum(pool.map(lambda _: sum(once(call, http) for _ in range(calls)), range(clients)))
    return Round(tokens, time.perf_counter() - began, spent(pids) - before)


def talk(stack: ExitStack, url: str, key: str) -> httpx.Client:
    headers = {"Authorization": f"Bearer {key}"}
    return stack.enter_context(httpx.Client(base_url=url, headers=headers, timeout=120, trust_env=False))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=4, help="of each client in a round")
    parser.add_argument("--peer", action="store_true", help="beside `llama_cpp.server`, in the environment `peers`")
    options = parser.parse_args()
    peers = ready(Checkout.here(), "peers")
    if options.peer and peers is None:
        parser.error("first make its environment: `python -m installer environment peers`")
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        home = make_home(Path(folder))
        home.settings_file.write_text(SETTINGS.format(port=free_port()), encoding="utf-8")
        weights = write_tiny_llama(home.spool / "w.gguf", layers=16, width=512)
        import_model(weights, Registry(home.models), "writer", tasks=("chat",))
        engines = subprocess.Popen([sys.executable, "-m", "appliance", "--home", folder, "serve", "engines"])
        stack.callback(stop, engines)
        gateway = stack.enter_context(running_gateway(home))
        through = talk(stack, gateway.url, gateway.key)
        whole(through)  # loads it
        row = next(row for row in json.loads((home.run / "engines.json").read_text()) if row["model"] == "writer")
        direct = talk(stack, row["url"], Path(row["api_key_file"]).read_text().strip())
        engine = [int(row["pid"])]
        whole_way = engine + [child.pid for child in psutil.Process(gateway.process.pid).children(recursive=True)]
        ways = {"direct": (direct, engine), "gateway": (through, whole_way)}
        if options.peer and peers:
            ways["peer"] = peer(stack, peers / "bin" / "python", home, threads=row["threads"])
        print(
            f"{'':17}" + "".join(f"{name:>36}" for name in ways) + "   (tokens/s, its ratio, CPU µs a token, its ratio)"
        )
        for name, call in (("whole answers", whole), ("streams", streamed)):
            for clients in (1, 4, 8, 16):
                rounds = []
                for n in range(options.rounds + 1):
                    order = list(ways)[:: 1 - n % 2 * 2]
                    rounds.append({way: measured(call, ways[way][0], clients, options.calls, ways[way][1])
                                   for way in order})  # fmt: skip
                report(f"{name:14}{clients:3}", list(ways), rounds[1:])  # the first one is to get warm


def peer(stack: ExitStack, python: Path, home: Home, threads: int) -> tuple[httpx.Client, list[int]]:
    """The server of llama-cpp-python over the writer's weights, once it answers."""
    port, weights = free_port(), home.models / "writer" / "model.gguf"
    lent = home.run / "lent"  # of our packages this one alone: the others are the environment's own
    lent.mkdir()
    (lent / "llama_cpp").symlink_to(find_package("llama_cpp"))
    argv = [
        str(python), "-m", "llama_cpp.server", "--model", str(weights), "--model_alias", "writer", "--port", str(port),
        "--n_ctx", "512", "--n_threads", str(threads), "--n_threads_batch", str(threads),
        "--interrupt_requests", "False", "--verbose", "False",
    ]  # fmt: skip
    with (home.logs / "peer.log").open("wb") as log:
        process = subprocess.Popen(argv, stdout=log, stderr=log, env={**os.environ, "PYTHONPATH": str(lent)})
    stack.callback(stop, process)
    http = talk(stack, f"http://127.0.0.1:{port}", "any")

    def answers() -> bool:
        if process.poll() is not None:
            raise SystemExit((home.logs / "peer.log").read_text(encoding="utf-8"))
        with contextlib.suppress(httpx.TransportError):
            return http.get("/v1/models").is_success
        return False

    until(answers)
    return http, [process.pid]


def find_package(name: str) -> Path:
    """The folder of a package of this Python, which is not imported."""
    spec = find_spec(name)
    assert spec is not None and spec.origin is not None, f"{name} is installed by `make run`"
    return Path(spec.origin).parent


def report(name: str, ways: list[str], rounds: list[dict[str, Round]]) -> None:
    line = name
    for way in ways:
        pace, cost = (statistics.median(getattr(made[way], what) for made in rounds) for what in ("pace", "cost"))
        paces, costs = (
            statistics.median(getattr(made[way], what) / getattr(made["direct"], what) for made in rounds)
            for what in ("pace", "cost")
        )
        line += f"{pace:12.0f}{paces:7.3f}{cost:10.0f}{costs:7.3f}"
    print(line, flush=True)


if __name__ == "__main__":
    main()
