"""What systemd hears of a process: ready when its door answers, alive while it does, nothing when it hangs."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.cli.becoming import become_owner
from appliance.cli.notifying import Watch, notify
from appliance.cli.status import running
from appliance.config import Home
from appliance.presence import unit_file, units
from control.health import read_health
from tests.e2e.world import free_port


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    """The end of the line where systemd listens."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as door:
        door.bind(str(tmp_path / "notify"))
        door.settimeout(20)
        yield door


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path / "home")
    made.run.mkdir(parents=True)
    made.logs.mkdir()
    return made


SERVICE = """
import http.server, os, pathlib, sys, time
from appliance.cli import notifying
from appliance.config import Home
from appliance.settings import Settings
home, port = Home(pathlib.Path(sys.argv[1])), int(sys.argv[2])
settings = Settings.model_validate({"gateway": {"port": port}})
assert notifying.begin(home, settings, "gateway")
assert "NOTIFY_SOCKET" not in os.environ
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
time.sleep(0.3)
print("serving", flush=True)
http.server.HTTPServer(("127.0.0.1", port), Answer).serve_forever()
"""


@pytest.fixture
def service(home: Home, systemd: socket.socket, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process with a door, as its unit starts it: the watchdog wants to hear of it every 0.6 s."""
    env = {"PATH": "/usr/bin:/bin", "NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "600000"}
    words = [sys.executable, "-c", SERVICE, str(home.root), str(free_port())]
    with subprocess.Popen(words, env=env, cwd=Path(__file__).parents[2]) as child:
        yield child
        child.kill()


def heard(systemd: socket.socket, seconds: float = 20) -> str:
    systemd.settimeout(seconds)
    return systemd.recv(4096).decode()


def test_a_process_is_ready_when_its_door_answers_and_says_so_to_the_box(
    service: subprocess.Popen[bytes], systemd: socket.socket, home: Home
) -> None:
    assert heard(systemd).startswith("READY=1")
    assert heard(systemd).startswith("WATCHDOG=1")
    (row,) = running(home)
    assert (row["name"], row["state"], row["pid"]) == ("gateway", "ready", service.pid)
    (part,) = read_health(home).processes
    assert (part.state, part.pid) == ("ready", service.pid) and read_health(home).well
    assert "serving" in (home.logs / "gateway.log").read_text()


def test_a_process_that_hangs_gets_no_more_time_from_the_watchdog(
    service: subprocess.Popen[bytes], systemd: socket.socket, home: Home
) -> None:
    assert heard(systemd).startswith("READY=1")
    os.kill(service.pid, signal.SIGSTOP)
    try:
        said = ""
        while "answers no longer" not in said:
            said = heard(systemd)
        with pytest.raises(TimeoutError):
            while True:
                assert "WATCHDOG=1" not in heard(systemd, 1.5)
        assert running(home)[0]["state"] == "failed"
    finally:
        os.kill(service.pid, signal.SIGCONT)


def test_a_process_that_is_killed_takes_its_watch_with_it_and_is_found_gone(
    service: subprocess.Popen[bytes], systemd: socket.socket, home: Home
) -> None:
    assert heard(systemd).startswith("READY=1")
    watch = int(Path(f"/proc/{service.pid}/task/{service.pid}/children").read_text().split()[0])
    service.kill()
    service.wait()
    until = time.monotonic() + 5
    while Path(f"/proc/{watch}/cmdline").exists() and Path(f"/proc/{watch}/cmdline").read_bytes():
        assert time.monotonic() < until
        time.sleep(0.01)
    assert running(home)[0]["state"] == "failed" and "is gone" in running(home)[0]["reason"]
    assert not read_health(home).well


def test_starts_after_a_kill_are_counted(home: Home) -> None:
    for _ in range(3):
        watch = Watch(home, "line", lambda: True, "", home.logs / "line.log", os.getpid())
        watch.tell("ready", "")
    assert units(home)[0]["restarts"] == 2


def test_a_damaged_word_of_a_process_is_no_good_news(home: Home) -> None:
    unit_file(home, "line").parent.mkdir()
    unit_file(home, "line").write_text("{")
    assert running(home)[0]["state"] == "failed" and not read_health(home).well


def test_nobody_listening_stops_nothing(tmp_path: Path) -> None:
    notify(str(tmp_path / "nobody"), "READY=1")
    notify("@appliance-nobody", "READY=1")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_root_at_the_command_line_becomes_the_user_whom_the_home_belongs_to(tmp_path: Path, home: Home) -> None:
    home.settings_file.write_text("")
    os.chown(home.root, 65534, 65534)
    pid = os.fork()
    if pid == 0:
        become_owner(home)
        os._exit(0 if os.getresuid() == (65534, 65534, 65534) and os.getgroups() != [0] else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_the_file_of_a_process_is_an_object_with_its_name(home: Home) -> None:
    Watch(home, "line", lambda: True, "", home.logs / "line.log", os.getpid()).tell("ready", "")
    assert json.loads(unit_file(home, "line").read_text())["name"] == "line"
