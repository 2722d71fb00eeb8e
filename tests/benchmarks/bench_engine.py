"""What an engine gives, asked directly: vectors from the default embedder and tokens from a writer.

Prints the seconds from "load" to ready, short texts and chunks of about 200 tokens turned into vectors per second, and
generated tokens per second of a writer with random weights at 1, 4 and 8 clients. The writer's speed is that of its
shape, not of any real model; what counts is how it grows with the clients. Clients are closed loops in threads of this
process, which shares the cores with the engine.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

sys.path.insert(0, str(Path(__file__).parents[2]))

from models.importing import import_model
from models.minilm import ID, ensure_default
from models.registry import Registry
from tests.inference.engines_process import Engines, make_home, running_engines, until
from tests.inference.tiny_model import write_tiny_llama

SHORT = "the parser loses the last line of a file"
CHUNK = "def total(prices, rate):\n    return sum(price * (1 + rate) for price in prices if price > 0)\n" * 6
SETTINGS = "[engines]\ncontext_tokens = 1024\nslots = 8\n"


def rate(call: Callable[[], int], clients: int, seconds: float) -> float:
    """What `call` counts, per second, with so many clients at once."""
    end = time.perf_counter() + seconds

    def loop() -> int:
        done = 0
        while time.perf_counter() < end:
            done += call()
        return done

    began = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        done = sum(future.result() for future in [pool.submit(loop) for _ in range(clients)])
    return done / (time.perf_counter() - began)


def report(name: str, unit: str, call: Callable[[], int], options: argparse.Namespace, clients: int) -> None:
    call()
    rates = [rate(call, clients, options.seconds) for _ in range(options.rounds)]
    spread = f"{min(rates):.0f}–{max(rates):.0f}"
    count = f"{clients} client{'s' * (clients > 1)}"
    print(f"{name:<34}{count:<11}{statistics.median(rates):8.1f} {unit} ({spread})", flush=True)


def embeddings(engines: Engines, options: argparse.Namespace) -> None:
    began = time.perf_counter()
    engines.ready(ID)
    print(f"{'embedder: load to ready':<45}{time.perf_counter() - began:8.2f} s")
    with engines.talk(ID) as http:
        for name, text in (("embedder: short texts", SHORT), ("embedder: chunks of 200 tokens", CHUNK)):
            for clients in (1, 4):
                report(name, "texts/s", lambda text=text: vectors(http, text), options, clients)
    engines.client.unload(ID)
    until(lambda: not engines.client.engines())


def vectors(http: httpx.Client, text: str) -> int:
    answer = http.post("/v1/embeddings", json={"input": [text] * 8})
    answer.raise_for_status()
    return len(answer.json()["data"])


def tokens(engines: Engines, options: argparse.Namespace) -> None:
    began = time.perf_counter()
    engines.ready("writer")
    print(f"{'writer: load to ready':<45}{time.perf_counter() - began:8.2f} s")
    with engines.talk("writer") as http:
        for clients in (1, 4, 8):
            report("writer: generated", "tokens/s", lambda: generate(http), options, clients)


def generate(http: httpx.Client) -> int:
    body = {"prompt": "def total(prices):\n" * 4, "max_tokens": 64, "ignore_eos": True}
    answer = http.post("/v1/completions", json=body)
    answer.raise_for_status()
    done: int = answer.json()["usage"]["completion_tokens"]
    return done


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = make_home(Path(folder), SETTINGS)
        registry = Registry(home.models)
        ensure_default(registry, lambda line: None)
        import_model(write_tiny_llama(home.spool / "w.gguf", layers=16, width=512), registry, "writer")
        with running_engines(home) as engines:
            embeddings(engines, options)
            tokens(engines, options)


if __name__ == "__main__":
    main()
