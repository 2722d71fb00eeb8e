"""Idle mirrors polled per minute: the box's own polling, beside a plain loop of `git fetch` and one of `git ls-remote`.

Every mirror is a copy of one small repository that does not move, over file:// and over http (git's own http-backend in
another process). The box's way includes its ledger, health and hardening; the plain loops run git alone, one after the
other. CPU is that of this process and all the git it starts, the server's end too for file:// and not for http.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
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


def many(home: Home, url: str, count: int) -> list[TrackedRepository]:
    """Mirrors of one repository under many names, as if each had been fetched a moment ago."""
    ledger = open_ledger(home)
    first = Mirror(home, "m0", url, "", MirrorSettings())
    head = first.create()
    known = [TrackedRepository(name=f"m{number}", url=url, branch="main") for number in range(count)]
    health = MirrorHealth(fetched=utcnow(), tried=utcnow(), head=head, branches=1, size_bytes=1)
    for tracked in known:
        ledger.add_repository(tracked)
        ledger.forges.note_health(tracked.name, health)
        if tracked.name != "m0":
            shutil.copytree(first.folder, home.mirrors / f"{tracked.name}.git")
    ledger.close()
    return known


def polled(home: Home, known: list[TrackedRepository]) -> None:
    """One turn of each, as the line takes it."""
    ledger, done, stop, lock = open_ledger(home), [0], threading.Event(), threading.Lock()

    class Counting(Mirror):
        def behind(self) -> bool:
            try:
                return super().behind()
            finally:
                with lock:
                    done[0] += 1

    def mirror_of(tracked: TrackedRepository) -> Mirror:
        return Counting.of(home, tracked, MirrorSettings())

    threads = Poller(ledger, mirror_of, lambda _: PlainForge(), LineSettings(sync_seconds=86400)).start(stop)
    while done[0] < len(known):
        time.sleep(0.01)
    stop.set()
    for thread in threads:
        thread.join()
    ledger.close()


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


def compare(kind: str, url: str, count: int) -> None:
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mirrors", type=int, default=1000)
    count = parser.parse_args().mirrors
    with tempfile.TemporaryDirectory() as folder:
        bare = remote(Path(folder), "shop", {"shop.py": "PRICE = 1\n"})
        compare("file", bare.as_uri(), count)
        ours, theirs = multiprocessing.Pipe()
        server = multiprocessing.get_context("spawn").Process(target=serve, args=(bare.parent, theirs))
        server.start()
        compare("http", ours.recv(), count)
        ours.send("end")
        server.join()


if __name__ == "__main__":
    main()
