"""Idle mirrors polled per minute: the box's own polling, beside a plain loop of `git fetch` and one of `git ls-remote`.

Every mirror is a copy of one small repository that does not move, over file:// and over http (git's own http-backend in
another process). The box's way includes its ledger, health and hardening; the plain loops run git alone, one after the
other. CPU is that of this process and all the git it starts, the server's end too for file:// and not for http. Then
the box again, with `--hanging` further mirrors, due first, of a host that takes connections and never answers: what
they cost the others.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from appliance.config import Home
from appliance.ledger import open_ledger
from appliance.line.polling import Poller
from appliance.mirror.forges.plain import PlainForge
from appliance.mirror.mirror import Mirror
from appliance.settings import LineSettings, MirrorSettings
from appliance.work import MirrorHealth, TrackedRepository, utcnow
from tests.e2e.world import remote
from tests.mirror.http_server import serving

QUIET = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null", "PATH": "/usr/local/bin:/usr/bin:/bin"}


def serve(root: Path, ready: Connection) -> None:
    """The http server's process: tells its address, ends when told."""
    with serving(root) as server:
        ready.send(server.url("shop.git"))
        ready.recv()


def many(home: Home, url: str, count: int, others: Mapping[str, str] | None = None) -> list[TrackedRepository]:
    """Mirrors of one repository under many names, as if each had been fetched a moment ago; before them `others`, by
    name and address, as if they had been fetched long before."""
    ledger = open_ledger(home)
    first = Mirror(home, "m0", url, "", MirrorSettings())
    head = first.create()
    apart = [TrackedRepository(name=name, url=place, branch="main") for name, place in (others or {}).items()]
    known = [TrackedRepository(name=f"m{number}", url=url, branch="main") for number in range(count)]
    health = MirrorHealth(fetched=utcnow(), tried=utcnow(), head=head, branches=1, size_bytes=1)
    long_ago = health.with_(fetched=utcnow() - timedelta(days=2), tried=utcnow() - timedelta(days=2))
    for tracked in known + apart:
        ledger.add_repository(tracked)
        ledger.forges.note_health(tracked.name, long_ago if tracked in apart else health)
        if tracked.name != "m0":
            shutil.copytree(first.folder, home.mirrors / f"{tracked.name}.git")
    ledger.close()
    return apart + known


def polled(home: Home, known: list[TrackedRepository], hanging: frozenset[str] = frozenset()) -> None:
    """One turn of each, as the line takes it; those that hang are not waited for."""
    ledger, done, stop, lock = open_ledger(home), [0], threading.Event(), threading.Lock()

    class Counting(Mirror):
        def behind(self) -> bool:
            try:
                return super().behind()
            finally:
                with lock:
                    done[0] += self.name not in hanging

    def mirror_of(tracked: TrackedRepository) -> Mirror:
        return Counting.of(home, tracked, MirrorSettings())

    threads = Poller(ledger, mirror_of, lambda _: PlainForge(), LineSettings(sync_seconds=86400)).start(stop)
    while done[0] < len(known) - len(hanging):
        time.sleep(0.01)
    stop.set()
    if hanging:
        return  # their threads end with the process
    for thread in threads:
        thread.join()
    ledger.close()


def hung(home: Home, url: str, count: int, more: int) -> float:
    """Seconds the box takes for the others, with mirrors of a host that never answers, which are polled first."""
    with socket.create_server(("127.0.0.1", 0), backlog=512) as silent:
        place = f"http://127.0.0.1:{silent.getsockname()[1]}"
        names = [f"silent-{n}" for n in range(more)]
        known = many(home, url, count, {name: f"{place}/{name}.git" for name in names})
        began = time.monotonic()
        polled(home, known, frozenset(names))
        return time.monotonic() - began


def plainly(home: Home, known: list[TrackedRepository], *words: str) -> None:
    """One git after the other."""
    for tracked in known:
        command = ["git", *words[:1], "--quiet", *words[1:2], tracked.url, *words[2:]]
        subprocess.run(
            command, cwd=home.mirrors / f"{tracked.name}.git", env=QUIET, check=True, stdout=subprocess.DEVNULL
        )


def measured(what: Callable[[], None], count: int) -> tuple[float, float]:
    """Mirrors a minute, and CPU milliseconds of each."""
    began, before = time.monotonic(), os.times()
    what()
    wall, after = time.monotonic() - began, os.times()
    return 60 * count / wall, 1000 * (sum(after[:4]) - sum(before[:4])) / count


def compare(kind: str, url: str, count: int, hanging: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder) / "home")
        for one in (home.root, *home.folders):
            one.mkdir()
        known = many(home, url, count)
        ways: tuple[tuple[str, Callable[[], None]], ...] = (
            ("git fetch, one after the other", lambda: plainly(home, known, "fetch", "--prune", "+refs/*:refs/*")),
            ("git ls-remote, the same", lambda: plainly(home, known, "ls-remote", "--heads")),
            ("the box", lambda: polled(home, known)),
        )
        base = 0.0
        for name, way in ways:
            rate, cpu = measured(way, count)
            base = base or cpu
            print(f"{kind:<5} {name:<31} {rate:8.0f} mirrors/min {cpu:7.1f} ms CPU each {cpu / base:6.2f} of git fetch")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        home = Home(Path(folder) / "home")
        for one in (home.root, *home.folders):
            one.mkdir()
        rate = 60 * count / hung(home, url, count, hanging)
        print(f"{kind:<5} {f'the box, {hanging} more never answer':<31} {rate:8.0f} mirrors/min")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mirrors", type=int, default=1000)
    parser.add_argument("--hanging", type=int, default=10)
    given = parser.parse_args()
    count, hanging = given.mirrors, given.hanging
    with tempfile.TemporaryDirectory() as folder:
        bare = remote(Path(folder), "shop", {"shop.py": "PRICE = 1\n"})
        compare("file", bare.as_uri(), count, hanging)
        ours, theirs = multiprocessing.Pipe()
        server = multiprocessing.get_context("spawn").Process(target=serve, args=(bare.parent, theirs))
        server.start()
        compare("http", ours.recv(), count, hanging)
        ours.send("end")
        server.join()


if __name__ == "__main__":
    main()
