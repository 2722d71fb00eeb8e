"""Webhooks a second, and how long each takes, through the console's real process, beside the least that keeps them.

The other one (`bare_hooks.py`) is Flask under gunicorn with as many threads: it checks the signature and inserts the
bytes into SQLite, synchronous=FULL, as the ledger does. Both have each message on the disk before they answer. The two
take turns; senders are processes of their own, each with one connection, which sends the next message when the last was
answered. The aim: p99 below 100 ms. CPU is the server's, for one message.
"""

from __future__ import annotations

import argparse
import hashlib
import hmac
import http.client
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parents[2]))

from appliance.cli.processes import answers
from appliance.config import Home
from appliance.intake import hook_secrets
from appliance.intake.hook_secrets import HookSecrets
from appliance.ledger import open_ledger
from appliance.settings import ConsoleSettings
from appliance.work import TrackedRepository
from tests.control.real_console import served
from tests.e2e.world import free_port

SECRET = "secret-of-the-benchmark"
PATHS = {"the box": "/hooks/gitea/shop", "the box, organisation": "/hooks/gitea", "bare": "/hooks/gitea/shop"}


def message(size: int) -> bytes:
    """A push about as long as forges send."""
    project = {"full_name": "team/shop", "clone_url": "https://git.example/team/shop.git"}
    push = {"ref": "refs/heads/main", "before": "4" * 40, "after": "5" * 40, "repository": project}
    return json.dumps({**push, "commits": [{"id": "5" * 40, "message": "x" * size}]}).encode()


def send(port: int, path: str, number: int, seconds: float, body: bytes, told: Connection) -> None:
    """One sender's process: tells the seconds that each message took."""
    signature = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    headers = {
        "Content-Type": "application/json",
        "X-Gitea-Event": "push",
        "X-Gitea-Signature": signature,
    }
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    times: list[float] = []
    ends = time.perf_counter() + seconds
    while time.perf_counter() < ends:
        began = time.perf_counter()
        name = f"{os.getpid()}-{number}-{len(times)}"
        connection.request("POST", path, body, {**headers, "X-Gitea-Delivery": name})
        answer = connection.getresponse()
        answer.read()
        if answer.status != 202:
            raise SystemExit(f"answered with {answer.status}")
        times.append(time.perf_counter() - began)
    told.send(times)


@dataclass
class Measured:
    """What came of one way and number of senders, over all rounds."""

    times: list[float] = field(default_factory=list)
    seconds: float = 0.0
    cpu: float = 0.0

    @property
    def rate(self) -> float:
        return len(self.times) / self.seconds

    @property
    def cpu_ms(self) -> float:
        return 1000 * self.cpu / len(self.times)

    def quantile(self, part: float) -> float:
        """In milliseconds."""
        return 1000 * sorted(self.times)[min(len(self.times) - 1, int(part * len(self.times)))]


def cpu_of(process: int) -> float:
    """Seconds that a server and its worker have used."""
    server = psutil.Process(process)
    return sum(one.cpu_times().user + one.cpu_times().system for one in (server, *server.children(recursive=True)))


def measure(found: Measured, process: int, port: int, path: str, senders: int, seconds: float, body: bytes) -> None:
    """One round."""
    spawn = multiprocessing.get_context("fork")
    pipes = [spawn.Pipe(duplex=False) for _ in range(senders)]
    began, before = time.perf_counter(), cpu_of(process)
    started = [
        spawn.Process(target=send, args=(port, path, number, seconds, body, told))
        for number, (_, told) in enumerate(pipes)
    ]
    for one in started:
        one.start()
    for (ours, _), one in zip(pipes, started, strict=True):
        found.times += ours.recv()
        one.join()
    found.seconds += time.perf_counter() - began
    found.cpu += cpu_of(process) - before


@contextmanager
def bare(folder: Path) -> Iterator[tuple[int, int]]:
    """The least there can be: its process and port."""
    port, threads = free_port(), str(ConsoleSettings().threads)
    argv = [sys.executable, "-m", "gunicorn", "-k", "gthread", "-w", "1", "--threads", threads]
    argv += ["-b", f"127.0.0.1:{port}", "--keep-alive", "5", "--log-level", "warning", "bare_hooks:create_app()"]
    own = {"BARE_FILE": str(folder / "bare.db"), "BARE_SECRET": SECRET, "PYTHONPATH": str(Path(__file__).parent)}
    process = subprocess.Popen(argv, env={**os.environ, **own})
    try:
        while not answers("127.0.0.1", port):
            time.sleep(0.1)
        yield process.pid, port
    finally:
        process.terminate()
        process.wait()


@contextmanager
def console(folder: Path) -> Iterator[tuple[int, int]]:
    """The console's real process, which takes any number of messages a minute, and its port."""
    home = Home(folder / "home")
    for one in (home.root, *home.folders):
        one.mkdir()
    ledger = open_ledger(home)
    url = "https://git.example/team/shop.git"
    ledger.add_repository(TrackedRepository(name="shop", url=url, branch="main", forge="gitea", project="team/shop"))
    ledger.close()
    hook_secrets.save(home, "shop", HookSecrets(current=SECRET))
    os.environ["APPLIANCE_INTAKE_HOOKS_PER_MINUTE"] = "0"
    with served(home) as (process, port):
        yield process.pid, port


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0, help="of one round of one way")
    parser.add_argument("--senders", type=int, nargs="*", default=[1, 8])
    parser.add_argument("--size", type=int, default=8192, help="bytes of a message, about")
    options = parser.parse_args()
    body = message(options.size)
    with tempfile.TemporaryDirectory() as name, console(Path(name)) as ours, bare(Path(name)) as theirs:
        for senders in options.senders:
            found = {way: Measured() for way in PATHS}
            for _ in range(options.rounds):
                for way, path in PATHS.items():
                    process, port = theirs if way == "bare" else ours
                    measure(found[way], process, port, path, senders, options.seconds, body)
            least = found["bare"]
            for way, one in found.items():
                p50, p99 = one.quantile(0.5), one.quantile(0.99)
                print(
                    f"{senders:2} senders  {way:22} {one.rate:6.0f} /s ({one.rate / least.rate:4.2f} of bare)  "
                    f"p50 {p50:6.2f} ms ({p50 / least.quantile(0.5):4.2f})  "
                    f"p99 {p99:6.2f} ms ({p99 / least.quantile(0.99):4.2f})  "
                    f"CPU {one.cpu_ms:5.2f} ms each ({one.cpu_ms / least.cpu_ms:4.2f})",
                    flush=True,
                )


if __name__ == "__main__":
    main()
