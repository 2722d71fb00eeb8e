"""The door of a web service, with the real gunicorn around a small application."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.config import Home
from appliance.door import Remembered, listen
from appliance.errors import ConfigError, Conflict

pytestmark = pytest.mark.integration
SERVICE = """
import sys
from pathlib import Path
from appliance.config import Home
from appliance.door import Service, listen

def load():
    def application(environ, start_response):
        start_response("200 OK", [])
        return [b"here"]
    return application

home = Home(Path(sys.argv[1]))
door = listen("console", "127.0.0.1", int(sys.argv[2]))
sys.exit(Service("console", home, [door], load, {}).run())
"""


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


@pytest.fixture
def service(tmp_path: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    home = Home(tmp_path)
    home.run.mkdir()
    process = subprocess.Popen([sys.executable, "-c", SERVICE, str(home.root), str(port)])
    assert eventually_answers(port)
    yield process
    process.kill()
    process.wait()


def eventually_answers(port: int) -> bool:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as answer:
                return bool(answer.read() == b"here")
        except OSError:
            time.sleep(0.05)
    return False


def test_a_service_ends_in_good_order_when_it_is_told_to(service: subprocess.Popen[bytes]) -> None:
    service.terminate()
    assert service.wait(20) == 0


def test_a_killed_service_leaves_its_port_to_the_next_one(service: subprocess.Popen[bytes], port: int) -> None:
    os.kill(service.pid, signal.SIGKILL)
    service.wait(20)
    end = time.monotonic() + 5
    while True:
        try:
            listen("console", "127.0.0.1", port).close()
            return
        except Conflict:
            assert time.monotonic() < end, "the worker outlived its master"
            time.sleep(0.05)


def test_a_taken_port_is_said_in_words() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(Conflict, match="port is taken") as caught:
        listen("gateway", "127.0.0.1", taken.getsockname()[1])
    assert "APPLIANCE_GATEWAY_PORT" in caught.value.hint


def test_an_address_of_another_machine_is_said_in_words() -> None:
    with pytest.raises(ConfigError, match=r"cannot listen on 192\.0\.2\.1:1"):
        listen("console", "192.0.2.1", 1)


def test_a_connection_that_comes_before_the_server_sends_without_delay(port: int) -> None:
    with listen("console", "127.0.0.1", port) as door, socket.create_connection(("127.0.0.1", port)):
        early, _ = door.accept()
        with early:
            assert early.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1


def test_settings_of_the_server_are_remembered_until_they_are_set_anew() -> None:
    settings = Remembered()
    assert settings.graceful_timeout == 30
    settings.set("graceful_timeout", 0)
    assert settings.graceful_timeout == 0
    with pytest.raises(AttributeError):
        _ = settings.no_such_setting
