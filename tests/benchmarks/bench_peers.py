"""This gateway beside its peers, in one run with one mock engine: LiteLLM's proxy, nginx, a bare Flask pass-through.

    python tests/benchmarks/bench_peers.py [--seconds 1.5] [--rounds 3]

For 1, 16 and 64 clients with kept connections, whole answers and streams: p50 and p99 in milliseconds (of a stream: to
its first piece), what is added to the direct way, and answers per second. One worker process each, all with a key
check but nginx, whose `proxy_pass` only passes bytes on. LiteLLM runs in the environment that
`python -m installer environment peers` makes, without a database, and asks nobody outside; nginx is the machine's.
A peer that is not there is left out, and said so. Client, engine and gateway share the machine's cores.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import httpx

sys.path.insert(0, str(Path(__file__).parents[2]))

from bench_gateway import Way, measured, mock_engine

from installer.checkout import Checkout
from installer.environment import ready
from tests.inference.gateway_process import CODER, make_home, publish, running_gateway

KEY = "sk-benchmark"
CHAT = {"model": CODER, "messages": [{"role": "user", "content": "Hello?"}]}
LITELLM = """
model_list:
  - model_name: {model}
    litellm_params: {{model: openai/m, api_base: "http://127.0.0.1:{engine}/v1", api_key: none}}
general_settings: {{master_key: {key}}}
litellm_settings: {{telemetry: false, drop_params: true}}
"""
NGINX = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 4096; }}
http {{
  access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  upstream engine {{ server 127.0.0.1:{engine}; keepalive 128; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://engine; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off;
    }}
  }}
}}
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


@contextmanager
def process(argv: Sequence[str | Path], port: int, log: Path, **environment: str) -> Iterator[Way]:
    """A server that is up once it answers a chat."""
    with log.open("wb") as out:
        running = subprocess.Popen(
            [str(word) for word in argv], stdout=out, stderr=out, env={**os.environ, **environment}, cwd=log.parent
        )
    try:
        end = time.monotonic() + 120
        while True:
            try:
                url, headers = f"http://127.0.0.1:{port}/v1/chat/completions", {"Authorization": f"Bearer {KEY}"}
                if httpx.post(url, json=CHAT, headers=headers).status_code == 200:
                    break
            except httpx.TransportError:
                pass
            if time.monotonic() > end or running.poll() is not None:
                raise SystemExit(f"{argv[0]} did not start:\n{log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.2)
        yield Way(port, KEY)
    finally:
        running.terminate()
        running.wait(30)


def bare(engine: int, folder: Path) -> AbstractContextManager[Way]:
    port = free_port()
    argv = [sys.executable, "-m", "gunicorn", "-k", "gevent", "-w", "1", "-b", f"127.0.0.1:{port}"]
    argv += ["--keep-alive", "75", "bare_gateway:create_app()"]
    upstream = f"http://127.0.0.1:{engine}"
    here = str(Path(__file__).parent)
    return process(argv, port, folder / "bare.log", BARE_UPSTREAM=upstream, BARE_KEY=KEY, PYTHONPATH=here)


def nginx(program: str, engine: int, folder: Path) -> AbstractContextManager[Way]:
    port = free_port()
    config = folder / "nginx.conf"
    config.write_text(NGINX.format(folder=folder, engine=engine, port=port))
    return process([program, "-c", config, "-p", folder, "-e", folder / "error.log"], port, folder / "nginx.log")


def litellm(program: Path, engine: int, folder: Path) -> AbstractContextManager[Way]:
    port = free_port()
    config = folder / "litellm.yaml"
    config.write_text(LITELLM.format(model=CODER, engine=engine, key=KEY))
    argv = [program, "--config", config, "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
    offline = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MODE": "PRODUCTION", "LITELLM_LOG": "ERROR"}
    return process(argv, port, folder / "litellm.log", **offline)


def opened(stack: ExitStack, engine: int, folder: Path) -> dict[str, Way]:
    """Everything that is there, by name."""
    found = {"direct": Way(engine, "none")}
    home = make_home(folder / "home")
    publish(home, {CODER: f"http://127.0.0.1:{engine}"})
    gateway = stack.enter_context(running_gateway(home))
    found["this gateway"] = Way(gateway.port, gateway.key)
    found["bare"] = stack.enter_context(bare(engine, folder))
    if program := shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin"):
        found["nginx"] = stack.enter_context(nginx(program, engine, folder))
    else:
        print("nginx is not installed: left out")
    if made := ready(Checkout.here(), "peers"):
        found["litellm"] = stack.enter_context(litellm(made / "bin" / "litellm", engine, folder))
    else:
        print("LiteLLM is left out: `python -m installer environment peers` installs it")
    return found


def table(title: str, ways: dict[str, Way], clients: int) -> None:
    """One block: every way with what it adds."""
    direct, ours = ways["direct"], ways["this gateway"]
    print(f"\n{title}, {clients} client{'s' * (clients > 1)}")
    print(
        f"{'':14}{'p50 ms':>9}{'p99 ms':>9}{'added p50':>11}{'added p99':>11}{'/s':>9}{'ours: added p50, p99, /s':>30}"
    )
    for name, way in ways.items():
        added = [way.quantile(part) - direct.quantile(part) for part in (0.5, 0.99)]
        mine = [ours.quantile(part) - direct.quantile(part) for part in (0.5, 0.99)]
        rate = statistics.mean(way.rates)
        compared = (
            ""
            if name in ("direct", "this gateway")
            else "".join(f"{a / b:8.3f} x" if b > 0 else "       –  " for a, b in zip(mine, added, strict=True))
            + f"{statistics.mean(ours.rates) / rate:8.2f} x"
        )
        print(
            f"{name:14}{way.quantile(0.5):9.3f}{way.quantile(0.99):9.3f}{added[0]:11.3f}{added[1]:11.3f}{rate:9.0f}"
            f"{compared:>30}"
        )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=1.5, help="of one round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clients", default="1,16,64")
    options = parser.parse_args()
    with mock_engine() as engine, tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        found = opened(stack, engine, Path(folder))
        for title, stream in (("whole answers", False), ("first piece of a stream", True)):
            for clients in (int(n) for n in options.clients.split(",")):
                body = {**CHAT, "stream": stream}
                rounds = measured(list(found.values()), "/v1/chat/completions", body, clients, options)
                table(title, dict(zip(found, rounds, strict=True)), clients)


if __name__ == "__main__":
    main()
