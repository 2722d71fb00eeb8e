"""A forge that drips, floods, hangs up or never ends: each call ends, in time, in words and without filling memory."""

from __future__ import annotations

import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from appliance.errors import Unavailable
from appliance.mirror.forges import client as clients
from appliance.mirror.forges import wire
from appliance.mirror.forges.client import Client
from tests.mirror.site_ca import SiteCa

Answer = Callable[[socket.socket], None]
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


class Raw:
    """Answers each request on each connection with raw bytes, as a script sends them."""

    def __init__(self, answer: Answer, tls: ssl.SSLContext | None = None) -> None:
        self.answer, self.tls = answer, tls
        self.connections = self.requests = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.open: list[socket.socket] = []
        self.threads: list[threading.Thread] = []

    def serve(self) -> None:
        with suppress(OSError):  # it was closed
            while True:
                taken, _ = self.listener.accept()
                self.connections += 1
                self.open.append(taken)
                self.threads.append(threading.Thread(target=self.talk, args=(taken,)))
                self.threads[-1].start()

    def talk(self, taken: socket.socket) -> None:
        with suppress(OSError):
            spoken = self.tls.wrap_socket(taken, server_side=True) if self.tls else taken
            with spoken:
                while self.read(spoken):
                    self.requests += 1
                    self.answer(spoken)

    def read(self, spoken: socket.socket) -> bool:
        got = b""
        while b"\r\n\r\n" not in got:
            piece = spoken.recv(65536)
            if not piece:
                return False
            got += piece
        return True


@contextmanager
def raw(answer: Answer, tls: ssl.SSLContext | None = None) -> Iterator[Raw]:
    server = Raw(answer, tls)
    thread = threading.Thread(target=server.serve)
    thread.start()
    try:
        yield server
    finally:
        server.listener.shutdown(socket.SHUT_RDWR)
        server.listener.close()
        thread.join()
        for one in server.open:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for talking in server.threads:
            talking.join()
        for one in server.open:
            one.close()


def client(server: Raw, tmp_path: Path, seconds: float = 0.5) -> Client:
    return Client(f"http://127.0.0.1:{server.port}/api/v1", {"Authorization": "token x"}, tmp_path / "none", seconds)


def drip(before: bytes, drop: bytes) -> Answer:
    def answer(spoken: socket.socket) -> None:
        spoken.sendall(before)
        while True:
            spoken.sendall(drop)
            time.sleep(0.05)

    return answer


def whole(body: bytes, more: bytes = b"") -> Answer:
    return lambda spoken: spoken.sendall(HEAD + b"Content-Length: %d\r\n" % len(body) + more + b"\r\n" + body)


@pytest.mark.parametrize(
    "answer",
    [
        drip(b"", b"H"), drip(HEAD, b"X-Drop: 1\r\n"), drip(HEAD + b"Content-Length: 100000\r\n\r\n[", b" "),
        drip(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"), drip(HEAD + b"\r\n[", b" "),
        drip(b"", b"HTTP/1.1 102 Processing\r\n\r\n"), lambda _: time.sleep(2),
    ],
    ids=["status", "headers", "body", "chunks", "no length", "always processing", "silence"],
)  # fmt: skip
def test_a_forge_that_drips_is_left_when_its_time_is_over(answer: Answer, tmp_path: Path) -> None:
    with raw(answer) as server, pytest.raises(Unavailable, match=r"longer than 0\.5 s") as caught:
        client(server, tmp_path).get("/x")
    assert "mirror.timeout_seconds" in caught.value.hint


def test_a_connection_that_took_all_the_time_is_cut_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine the time may be over before there is a connection that the clock could cut."""
    drops: list[int] = []
    note = wire.Wire._note

    def late(self: wire.Wire, event: str, told: Mapping[str, Any]) -> None:
        if event == "connection.connect_tcp.complete":
            time.sleep(0.5)
        note(self, event, told)

    def answer(spoken: socket.socket) -> None:
        spoken.sendall(HEAD + b"Content-Length: 100000\r\n\r\n[")
        for drop in range(400):
            spoken.sendall(b" ")
            drops.append(drop)
            time.sleep(0.05)
        spoken.shutdown(socket.SHUT_RDWR)

    monkeypatch.setattr(wire.Wire, "_note", late)
    with raw(answer) as server, pytest.raises(Unavailable, match=r"longer than 0\.1 s"):
        client(server, tmp_path, 0.1).get("/x")
    assert len(drops) < 400, "it was read to its end"


def test_a_drip_inside_tls_is_left_too(tmp_path: Path) -> None:
    ca = SiteCa(tmp_path / "ca")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(ca.issue())
    with raw(drip(HEAD, b"X-Drop: 1\r\n"), context) as server:
        asked = Client(f"https://localhost:{server.port}", {}, ca.file, 0.5)
        with pytest.raises(Unavailable, match=r"longer than 0\.5 s"):
            asked.get("/x")


def test_an_expired_certificate_of_an_api_is_told_as_git_s_is(tmp_path: Path) -> None:
    ca = SiteCa(tmp_path / "ca")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(ca.issue(begins=-9, ends=-1))
    with raw(whole(b"{}"), context) as server, pytest.raises(Unavailable, match="has expired") as caught:
        Client(f"https://localhost:{server.port}", {}, ca.file, 10).get("/x")
    assert "renew" in caught.value.hint


@pytest.mark.parametrize("head", [b"\r\n[", b"Content-Length: 1000000000000\r\n\r\n["], ids=["no length", "a length"])
def test_a_flood_is_cut_where_it_is_too_much(head: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "MOST", 2**20)

    def flood(spoken: socket.socket) -> None:
        spoken.sendall(HEAD + head)
        while True:
            spoken.sendall(b" " * 65536)

    with raw(flood) as server, pytest.raises(Unavailable, match="more than 1 MB"):
        client(server, tmp_path, 60).get("/x")


def test_an_answer_that_breaks_off_is_no_answer(tmp_path: Path) -> None:
    def broken(spoken: socket.socket) -> None:
        spoken.sendall(HEAD + b"Content-Length: 100\r\n\r\n[1, 2")
        spoken.shutdown(socket.SHUT_RDWR)

    with raw(broken) as server, pytest.raises(Unavailable, match="does not answer"):
        client(server, tmp_path, 10).get("/x")


def test_a_list_without_an_end_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "LIST_BYTES", 1000)

    def page(spoken: socket.socket) -> None:
        following = f'Link: </api/v1/x?page={server.requests + 1}>; rel="next"\r\n'.encode()
        whole(b'["' + b"x" * 96 + b'"]', following)(spoken)

    with raw(page) as server:
        with pytest.raises(Unavailable, match="has no end"):
            client(server, tmp_path, 10).pages("/x")
        assert server.requests == 10
        monkeypatch.setattr(clients, "LIST_BYTES", 10**9)
        with pytest.raises(Unavailable, match="has no end"):
            client(server, tmp_path, 10).pages("/x")
        assert server.requests == 10 + clients.PAGES


def test_all_calls_of_one_verb_have_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "VERB_TIMES", 0.01)

    def late(spoken: socket.socket) -> None:
        time.sleep(0.15)
        whole(b"{}")(spoken)

    with raw(late) as server:
        asked = client(server, tmp_path, 10)
        with asked.connected():
            assert asked.get("/x") == {}
            with pytest.raises(Unavailable, match="for all that was asked at once"):
                asked.get("/x")
        assert asked.get("/x") == {}, "the next verb begins anew"


def test_calls_of_one_verb_share_a_connection_that_ends_with_it(tmp_path: Path) -> None:
    with raw(whole(b"{}")) as server:
        asked = client(server, tmp_path, 10)
        with asked.connected():
            for _ in range(3):
                assert asked.get("/x") == {}
        assert (server.connections, server.requests) == (1, 3)
        for talking in server.threads:
            talking.join(10)
        assert not any(talking.is_alive() for talking in server.threads)
        asked.get("/x")
        assert server.connections == 2


def test_a_connection_that_the_forge_closed_meanwhile_is_made_anew(tmp_path: Path) -> None:
    def closing(spoken: socket.socket) -> None:
        whole(b"{}")(spoken)
        spoken.shutdown(socket.SHUT_RDWR)

    with raw(closing) as server:
        asked = client(server, tmp_path, 10)
        with asked.connected():
            for _ in range(2):
                assert asked.get("/x") == {}
                server.threads[-1].join(10)
        assert server.connections == 2


@pytest.mark.parametrize("date", ["yesterday", "Thu, 99 Xxx 2026 00:00:00 GMT", ""])
def test_a_date_that_is_none_changes_no_clock(date: str, tmp_path: Path) -> None:
    with raw(whole(b"{}", f"Date: {date}\r\n".encode())) as server:
        asked = client(server, tmp_path, 10)
        before = asked.clock
        assert asked.get("/x") == {} and asked.clock == before


@pytest.mark.parametrize("after", ["\u00b2", "9" * 400, "-1", "soon"])
def test_a_wish_to_wait_that_makes_no_sense_is_a_minute(after: str, tmp_path: Path) -> None:
    answer = f"HTTP/1.1 429 Slow\r\nRetry-After: {after}\r\nContent-Length: 0\r\n\r\n".encode("latin-1")
    with raw(lambda spoken: spoken.sendall(answer)) as server, pytest.raises(Unavailable) as caught:
        client(server, tmp_path, 10).get("/x")
    assert re.search(r"in 60 s", caught.value.hint)


@pytest.mark.parametrize("verb", ["GET", "POST", "PUT", "DELETE"])
def test_on_a_kept_connection_that_was_closed_a_moment_ago_only_what_reads_is_asked_again(
    tmp_path: Path, verb: str
) -> None:
    def answer(spoken: socket.socket) -> None:
        if server.requests == 2:
            spoken.shutdown(socket.SHUT_RDWR)
        else:
            whole(b"[]")(spoken)

    with raw(answer) as server, (asked := client(server, tmp_path, 5)).connected():
        asked.get("/first")
        if verb == "GET":
            assert asked.call(verb, "/second") == []
        else:
            with pytest.raises(Unavailable, match="does not answer"):
                asked.call(verb, "/second")
    assert (server.requests, server.connections) == ((3, 2) if verb == "GET" else (2, 1))


def test_a_server_that_hangs_up_on_new_connections_is_not_asked_again(tmp_path: Path) -> None:
    with raw(lambda spoken: spoken.shutdown(socket.SHUT_RDWR)) as server, pytest.raises(Unavailable):
        client(server, tmp_path, 5).get("/first")
    assert server.requests == 1
