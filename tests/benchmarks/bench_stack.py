"""What is left of an engine's throughput behind the gateway: the same llama-server asked directly and through it.

    python tests/benchmarks/bench_stack.py [--seconds 4] [--rounds 3]

Generated tokens per second of a writer with random weights, whole answers and streams, at 1, 4, 8 and 16 clients, both
ways in turns. Its shape decides the speed; what counts is the ratio. Clients are threads of this process, which shares
the cores with engine and gateway.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import httpx

sys.path.insert(0, str(Path(__file__).parents[2]))

from bench_engine import rate

from models.importing import import_model
from models.registry import Registry
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
    done = 0
    with http.stream("POST", "/v1/completions", json=body) as answer:
        answer.raise_for_status()
        for line in answer.iter_lines():
            if line.startswith("data: {"):
                done = (json.loads(line[6:]).get("usage") or {}).get("completion_tokens", done)
    return done


def once(call: Callable[[httpx.Client], int], http: httpx.Client) -> int:
    """llama-server closes a connection after a hundred calls, sometimes while the next one is on its way."""
    try:
        return call(http)
    except httpx.RemoteProtocolError:
        return 0


def talk(stack: ExitStack, url: str, key: str) -> httpx.Client:
    headers = {"Authorization": f"Bearer {key}"}
    return stack.enter_context(httpx.Client(base_url=url, headers=headers, timeout=120, trust_env=False))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0)
    options = parser.parse_args()
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
        print(f"{'':20}{'direct':>16}{'gateway':>16}{'ratio':>8}  (tokens/s)")
        for name, call in (("whole answers", whole), ("streams", streamed)):
            for clients in (1, 4, 8, 16):
                rates: dict[str, list[float]] = {"direct": [], "through": []}
                for _ in range(options.rounds):
                    for way, http in (("direct", direct), ("through", through)):
                        rates[way].append(rate(lambda http=http, call=call: once(call, http), clients, options.seconds))
                a, b = (statistics.median(found) for found in rates.values())
                print(f"{name:14}{clients:3}   {a:16.0f}{b:16.0f}{b / a:8.3f}", flush=True)


if __name__ == "__main__":
    main()
