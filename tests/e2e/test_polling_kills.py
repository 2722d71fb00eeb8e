"""The line is killed again and again in the middle of its polls: what people said meanwhile is filed, once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from appliance.cli.main import root
from appliance.config import Home
from appliance.ledger import open_ledger
from tests.contracts.forges.gitea import Gitea
from tests.contracts.forges.server import serving
from tests.e2e.world import remote, until

KILLED_AT = (5, 0)
"""At which of the polls' calls, counted from the start of the line; 0: a moment after the news were told."""


class Watched(list[str]):
    """The server's list of calls, which kills the line at one of them."""

    def __init__(self, number: int, line: subprocess.Popen[bytes]) -> None:
        super().__init__()
        self.number, self.line, self.killed = number, line, threading.Event()

    def append(self, call: str) -> None:
        super().append(call)
        if len(self) == self.number:
            self.kill()
        elif not self.number and call.endswith("/issues/comments"):  # the last one of a poll
            threading.Timer(0.03, self.kill).start()

    def kill(self) -> None:
        if not self.killed.is_set():
            self.line.send_signal(signal.SIGKILL)
            self.killed.set()


@contextmanager
def running(home: Home, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "appliance", "--home", str(home.root), "serve", "line"]
    env = {**os.environ, "APPLIANCE_LINE_SYNC_SECONDS": "1"}
    with log.open("ab") as said:
        line = subprocess.Popen(command, env=env, stdout=said, stderr=said)
    try:
        yield line
    finally:
        line.kill()
        line.wait()


@pytest.mark.e2e
def test_a_line_that_is_killed_while_it_polls_loses_nothing_and_files_nothing_twice(home: Home, tmp_path: Path) -> None:
    log = tmp_path / "line.log"
    with serving(Gitea(remote(tmp_path, "shop", {"shop.py": "PRICE = 1\n"}))) as forge:
        (tmp_path / "token").write_text("t0ken\n")
        words = ["repo", "add", "shop", "--url", f"{forge.url}/{forge.path}.git", "--autonomy", "off"]
        words += ["--forge", "gitea", "--api", forge.url, "--project", forge.path, "--label", "factory"]
        for command in (["init"], [*words, "--api-token-file", str(tmp_path / "token")]):
            done = CliRunner().invoke(root, ["--home", str(home.root), *command])
            assert done.exit_code == 0, done.output
        ledger = open_ledger(home)

        def filed() -> list[str]:
            return [one.title for one, _ in ledger.signals("shop")]

        try:
            ledger.forges.set_cursor("shop", "2026-01-01T00:00:00Z")
            titles = []
            for number in KILLED_AT:
                titles.append(f"The sum of round {len(titles)} is wrong")
                forge.open_issue("ann", titles[-1], ("factory",))
                with running(home, log) as line:
                    forge.calls = watched = Watched(number, line)
                    until(watched.killed.is_set, f"the line was killed at call {number}: {log.read_text()[-2000:]}")
            titles.append("The last one")
            forge.open_issue("ann", titles[-1], ("factory",))
            with running(home, log):
                until(lambda: titles[-1] in filed(), f"all is filed: {log.read_text()[-2000:]}")
                calls = len(forge.calls)
                until(lambda: len(forge.calls) > calls + 6, "it polls on")
            assert sorted(filed()) == sorted(titles)
        finally:
            ledger.close()
