"""Waiting for a box that starts: it ends when the box is ready, when it ended, and when a process of it is lost."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from installer.errors import InstallError
from installer.target import running
from installer.target.places import Places

PROGRAM = """#!{python}
import json, os, sys, time
from pathlib import Path
home = Path(sys.argv[2])
started = int(Path("/proc/self/stat").read_bytes().rpartition(b")")[2].split()[19])
{ends}
told = {{"pid": os.getpid(), "started": started, "processes": {rows}}}
(home / "run" / "half").write_text(json.dumps(told))
(home / "run" / "half").rename(home / "run" / "up.json")
time.sleep(60)
"""
"""Stands for a release: tells of its processes what a supervisor would."""


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Places]:
    begun: list[subprocess.Popen[bytes]] = []

    class Remembered(subprocess.Popen[bytes]):
        """A box outlives the installer that started it; here it is ended."""

        def __init__(self, *given: Any, **named: Any) -> None:
            super().__init__(*given, **named)
            begun.append(self)

    monkeypatch.setattr(running.subprocess, "Popen", Remembered)
    made = Places(tmp_path / "opt", tmp_path / "home")
    (made.home / "run").mkdir(parents=True)
    made.prefix.mkdir()
    yield made
    for box in begun:
        box.kill()
        box.wait()


def release(places: Places, rows: list[dict[str, object]], ends: str = "") -> Path:
    program = places.release("r") / "venv" / "bin" / "appliance"
    program.parent.mkdir(parents=True)
    program.write_text(PROGRAM.format(python=sys.executable, rows=repr(rows), ends=ends))
    program.chmod(0o755)
    return places.release("r")


def test_a_box_is_started_when_every_process_says_so(places: Places) -> None:
    running.start(places, release(places, [{"name": "gateway", "state": "ready", "restarts": 0}]))
    assert running.ready(places) and running.pid(places) is not None


def test_a_process_that_was_started_in_vain_ends_the_wait_with_its_name_and_reason(places: Places) -> None:
    rows: list[dict[str, object]] = [
        {"name": "gateway", "state": "starting", "restarts": running.systemd.RESTARTS, "reason": "ended with status 1"},
        {"name": "line", "state": "starting", "restarts": 0, "reason": ""},
    ]
    began = time.monotonic()
    with pytest.raises(InstallError, match=r"gateway is not ready after .* ended with status 1") as failed:
        running.start(places, release(places, rows))
    assert failed.value.hint.endswith("gateway.log")
    assert time.monotonic() - began < running.READY_SECONDS / 2


def test_what_is_late_is_named(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "READY_SECONDS", 1.0)
    rows: list[dict[str, object]] = [{"name": "console", "state": "starting", "restarts": 0, "reason": ""}]
    with pytest.raises(InstallError, match="console is not ready after"):
        running.start(places, release(places, rows))


def test_a_box_that_ends_ends_the_wait_and_its_token_is_not_told(places: Places) -> None:
    ends = "print('a token=canary', file=sys.stderr); sys.exit('error: no such thing')"
    with pytest.raises(InstallError, match="the box ended: error: no such thing") as failed:
        running.start(places, release(places, [], ends))
    assert "canary" not in failed.value.message
