"""The console's worker with a certificate: hands are shaken where requests are gathered, so nobody is held up."""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.control.tls_service import THREADS
from tests.mirror.site_ca import SiteCa

pytestmark = pytest.mark.integration

HEAD = b"GET / HTTP/1.1\r\nHost: localhost\r\n"


@dataclass(frozen=True)
class Served:
    """The port of a service with a certificate, and who trusts it."""

    port: int
    trusting: ssl.SSLContext

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)

    def greet(self) -> ssl.SSLSocket:
        """A connection on which hands were shaken, and which takes an end without the word for it as an error."""
        return self.trusting.wrap_socket(self.connect(), server_hostname="localhost", suppress_ragged_eofs=False)

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=f"https://localhost:{self.port}", verify=self.trusting, timeout=30)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder: Path = tmp_path_factory.mktemp("tls")
    (folder / "run").mkdir()
    ca = SiteCa(folder / "ca")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    words = ["-m", "tests.control.tls_service", str(folder), str(port), str(ca.issue())]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([sys.executable, *words], stdout=log, stderr=log)
    try:
        served = Served(port, ssl.create_default_context(cafile=ca.file))
        ends = time.monotonic() + 60
        while True:
            try:
                served.greet().close()
                break
            except OSError:
                assert process.poll() is None and time.monotonic() < ends, (folder / "log").read_text()
                time.sleep(0.1)
        yield served
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(autouse=True)
def no_worker_ends(service: Served) -> Iterator[None]:
    """A worker that ends is made anew at once, and nobody would notice."""
    with service.client() as before, service.client() as after:
        process = before.get("/").headers["x-process"]
        yield
        assert after.get("/").headers["x-process"] == process


def half_a_greeting(trusting: ssl.SSLContext) -> bytes:
    out = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        trusting.wrap_bio(ssl.MemoryBIO(), out, server_hostname="localhost").do_handshake()
    return out.read()[:100]


def test_requests_and_bodies_come_whole_and_the_connection_is_used_again(service: Served) -> None:
    with service.client() as client:
        for size in (0, 5, 1_000_000, 16_384, 16_385):
            assert client.post("/", content=b"x" * size).text == f"https {size}\n"


def test_who_stops_before_in_or_after_the_handshake_holds_up_nobody(service: Served) -> None:
    with ExitStack() as stack:
        for _ in range(35 * THREADS):  # three connections each
            stack.enter_context(service.connect())
            stack.enter_context(service.connect()).sendall(half_a_greeting(service.trusting))
            stack.enter_context(service.greet()).sendall(HEAD)
        began = time.monotonic()
        with service.client() as client:
            assert client.get("/").status_code == 200
        assert time.monotonic() - began < 5, "half of what a silent one is waited for"


def test_a_request_that_drips_through_records_is_answered_once_it_is_here(service: Served) -> None:
    with service.greet() as sock:
        for byte in HEAD + b"Content-Length: 3\r\n\r\nabc":
            sock.sendall(bytes([byte]))
        assert sock.recv(4096).startswith(b"HTTP/1.1 200 ")


def test_requests_in_one_record_are_answered_in_turn(service: Served) -> None:
    with service.greet() as sock:
        sock.sendall((HEAD + b"\r\n") * 3)
        words = b""
        while words.count(b"https 0") < 3:
            piece = sock.recv(4096)
            assert piece
            words += piece


def test_the_end_of_a_connection_is_said_so_that_nothing_can_be_cut_off(service: Served) -> None:
    with service.greet() as sock:
        sock.sendall(HEAD + b"Connection: close\r\n\r\n")
        words = b""
        while piece := sock.recv(4096):  # an end without TLS's word for it is an error
            words += piece
    assert words.startswith(b"HTTP/1.1 200 ") and words.endswith(b"https 0\n")


def test_plain_http_is_told_that_the_port_speaks_tls(service: Served) -> None:
    with service.connect() as sock:
        sock.sendall(HEAD + b"\r\n")
        words = b""
        while piece := sock.recv(4096):
            words += piece
        sock.sendall(b"more of it")
    assert words.startswith(b"HTTP/1.1 400 ") and b"https://" in words


@pytest.mark.parametrize("words", [b"\x16\x03\x01\xff\xff", b"\0" * 600, b"\x16\x03\x01\0\x05hello"])
def test_what_is_no_handshake_ends_its_connection_alone(service: Served, words: bytes) -> None:
    with service.connect() as sock, service.client() as client:
        sock.sendall(words)
        assert client.get("/").status_code == 200


def test_a_caller_that_does_not_trust_the_certificate_ends_its_connection_alone(service: Served) -> None:
    with service.client() as client:
        with pytest.raises(httpx.ConnectError), httpx.Client() as stranger:
            stranger.get(f"https://localhost:{service.port}/")
        assert client.get("/").status_code == 200
