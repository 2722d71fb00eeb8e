"""A real box as a person runs it: `appliance up` in a process of its own, real git remotes, and hands to kill with."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

PATIENCE = 180.0
"""Seconds any one thing may take before a test calls it hung (not a measure of speed)."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def git(folder: Path, *words: str) -> str:
    identity = ("-c", "user.name=Tester", "-c", "user.email=tester@localhost")
    return subprocess.run(
        ["git", *identity, *words], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()


def remote(folder: Path, name: str, files: Mapping[str, str]) -> Path:
    """A bare repository with one commit."""
    tree, bare = folder / f"{name}-tree", folder / f"{name}.git"
    for path, content in files.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_text(content)
    git(tree, "init", "-q", "-b", "main")
    git(tree, "add", "-A")
    git(tree, "commit", "-q", "-m", "start")
    git(tree, "clone", "-q", "--bare", str(tree), str(bare))
    git(tree, "remote", "add", "origin", str(bare))
    return bare


def until(what: Callable[[], Any], why: str, seconds: float = PATIENCE) -> Any:
    """Wait for something to become true; its value."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = what()
        if value:
            return value
        time.sleep(0.1)
    raise AssertionError(f"still not so after {seconds} s: {why}")


class RunningBox:
    """One home and the `appliance up` that runs it."""

    def __init__(self, home: Path, **settings: str) -> None:
        self.home = home
        self.gateway, self.console = free_port(), free_port()
        self.environment = {
            **os.environ,
            "APPLIANCE_GATEWAY_PORT": str(self.gateway),
            "APPLIANCE_CONSOLE_PORT": str(self.console),
            **settings,
        }
        self.process: subprocess.Popen[bytes] | None = None

    def argv(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "appliance", *words, "--home", str(self.home)]

    def start(self, *words: str) -> None:
        self.home.parent.mkdir(parents=True, exist_ok=True)
        with (self.home.parent / "up.log").open("ab") as log:
            self.process = subprocess.Popen(self.argv("up", *words), env=self.environment, stdout=log, stderr=log)
        until(lambda: self.cli("status").returncode == 0, f"the box is up: {self.said()}")

    def said(self) -> str:
        log = self.home.parent / "up.log"
        return log.read_text(errors="replace")[-3000:] if log.exists() else ""

    def stop(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(60)

    def cli(self, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.argv(*words), env=self.environment, capture_output=True, text=True, input=stdin, timeout=PATIENCE
        )

    def ask(self, *words: str) -> Any:
        """What a command prints with --json."""
        done = self.cli(*words, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def report(self, repo: str, title: str, body: str = "") -> str:
        """File a bug; the id of its item."""
        done = self.cli("signal", "add", "--repo", repo, "--title", title, "--body-file", "-", "--json", stdin=body)
        assert done.returncode == 0, done.stderr
        return str(json.loads(done.stdout)["item"])

    def settled(self, item: str, seconds: float = PATIENCE) -> dict[str, Any]:
        """The item once it ended or asks."""
        ends = {"closed", "needs_human", "failed", "rejected", "cancelled", "rolled_back", "duplicate"}

        def look() -> Any:
            done = self.cli("item", "show", item, "--json")
            known = json.loads(done.stdout) if done.returncode == 0 else {}
            return known if known.get("state") in ends else None

        return dict(until(look, f"{item} is settled; {self.log('line')}", seconds))

    def log(self, name: str) -> str:
        file = self.home / "logs" / f"{name}.log"
        return file.read_text(errors="replace")[-2000:] if file.exists() else "(no log)"

    def pid(self, name: str) -> int | None:
        """Process id of a process of the box, or of the engine's own child when `name` is "llama-server"."""
        file, key, wanted = ("engines.json", "model", None) if name == "llama-server" else ("up.json", "name", name)
        try:
            content = json.loads((self.home / "run" / file).read_text())
        except (OSError, ValueError):
            return None
        rows = content if isinstance(content, list) else content["processes"]
        return next((row["pid"] for row in rows if wanted in (None, row[key]) and row["pid"]), None)

    def kill(self, name: str) -> bool:
        """SIGKILL; False when it does not run just now."""
        pid = self.pid(name)
        if pid is None:
            return False
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return False
        return True


def landed(bare: Path, item: str, branch: str = "main") -> list[str]:
    """Commits on the remote's branch that name the item in their trailer."""
    shown = git(bare, "log", branch, "--format=%H %(trailers:key=Factory-Item,valueonly,separator=%x2C)")
    return [line.split()[0] for line in shown.splitlines() if line.split()[1:] == [item]]


def passes(bare: Path, folder: Path, *tests: str) -> bool:
    """Do these tests pass on a fresh clone of the remote's main?"""
    clone = folder / f"clone-{time.monotonic_ns()}"
    git(folder, "clone", "-q", str(bare), str(clone))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests],
        cwd=clone,
        env={**os.environ, "PYTHONPATH": str(clone)},
        capture_output=True,
    )
    return done.returncode == 0
