"""A connection to an engine: answers read whatever way their bytes come, and what is no answer told as such."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from inference.gateway import wire as wires
from inference.gateway.wire import Garbled, Wire, connected, head_of, place_of

HEAD = b"HTTP/1.1 200 OK\r\n"
HELLO = (
    (b"Content-Length: 5\r\n\r\nhello", True),
    (b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=1\r\nllo\r\n0\r\n\r\n", True),
    (b"transfer-encoding: Chunked\r\n\r\n5\r\nhello\r\n0\r\nMore: yes\r\n\r\n", True),
    (b"Connection: close\r\nContent-Length: 5\r\n\r\nhello", False),
    (b"\r\nhello", False),
)
"""Ways to say hello, and whether the connection can be used again."""


@contextmanager
def wire_with(said: bytes, hang_up: bool = False) -> Iterator[Wire]:
    """A wire on which this lies."""
    ours, theirs = socket.socketpair()
    ours.settimeout(0.02)
    with ours, theirs:
        theirs.sendall(said)
        if hang_up:
            theirs.shutdown(socket.SHUT_WR)
        yield Wire(ours)


@pytest.mark.parametrize(("answer", "reusable"), HELLO)
def test_an_answer_is_read_to_its_end(answer: bytes, reusable: bool) -> None:
    with wire_with(HEAD + answer, hang_up=True) as wire:
        wire.post(b"POST / HTTP/1.1\r\n", "", b"{}")
        assert (wire.status, wire.read(), wire.over, wire.reusable) == (200, b"hello", True, reusable)


@pytest.mark.parametrize("answer", [answer for answer, _ in HELLO])
def test_bytes_may_come_in_any_pieces_and_a_read_that_timed_out_loses_none(answer: bytes) -> None:
    whole = HEAD + answer
    start = whole.index(b"\r\n\r\n") + 4
    for cut in range(start, len(whole)):
        ours, theirs = socket.socketpair()
        ours.settimeout(0.001)
        with ours, theirs:
            theirs.sendall(whole[:cut])
            wire, found = Wire(ours), b""
            wire.post(b"POST / HTTP/1.1\r\n", "", b"{}")
            with pytest.raises(TimeoutError):
                while piece := wire.piece():
                    found += piece
            theirs.sendall(whole[cut:])
            theirs.shutdown(socket.SHUT_WR)
            assert found + wire.read() == b"hello", cut


@pytest.mark.parametrize("cut", range(1, len(HELLO[0][0]) + len(HEAD) - 1, 3))
def test_an_answer_that_breaks_off_is_lost_and_not_short(cut: int) -> None:
    with wire_with((HEAD + HELLO[0][0])[:cut], hang_up=True) as wire, pytest.raises(ConnectionError):
        wire.post(b"POST / HTTP/1.1\r\n", "", b"{}")
        wire.read()


@pytest.mark.parametrize("cut", range(30, len(HELLO[1][0]) + len(HEAD) - 1, 3))
def test_chunks_that_break_off_are_lost_and_not_short(cut: int) -> None:
    with wire_with((HEAD + HELLO[1][0])[:cut], hang_up=True) as wire, pytest.raises(ConnectionError):
        wire.post(b"POST / HTTP/1.1\r\n", "", b"{}")
        wire.read()


@pytest.mark.parametrize(
    "said",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 OK\r\n\r\n",
        HEAD + b"Content-Length: five\r\n\r\nhello",
        HEAD + b"Content-Length: 4\r\n\r\nhello",
        HEAD + b"Transfer-Encoding: gzip\r\n\r\nhello",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nhello\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n-2\r\nhello\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhello\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nhello",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"1" * 5000,
        b"H" * 70_000,
    ],
)
def test_what_is_no_answer_is_told_as_such(said: bytes) -> None:
    with wire_with(said) as wire, pytest.raises(Garbled):
        wire.post(b"POST / HTTP/1.1\r\n", "", b"{}")
        wire.read()


def test_an_interim_answer_is_passed_over_and_bodies_that_cannot_be_are_not_waited_for() -> None:
    with wire_with(b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n") as wire:
        wire.post(b"POST / HTTP/1.1\r\n", "", b"{}")
        assert (wire.status, wire.read(), wire.reusable) == (204, b"", True)


def test_a_call_is_one_write_with_its_length_and_id() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(HEAD + b"Content-Length: 0\r\n\r\n")
        Wire(ours).post(head_of("http://[::1]:81/base/", "/v1/x", "key\n y"), "id-1", b"{}")
        assert theirs.recv(4096).decode().split("\r\n") == [
            "POST /base/v1/x HTTP/1.1", "Host: [::1]:81", "Accept-Encoding: identity", "Content-Type: application/json",
            "Authorization: Bearer key y", "x-request-id: id-1", "Content-Length: 2", "", "{}",
        ]  # fmt: skip


def test_an_address_has_the_port_of_its_scheme() -> None:
    assert place_of("https://box") == ("box", 443, "") and place_of("http://box/a/") == ("box", 80, "/a")


def test_a_server_that_shows_no_certificate_is_not_waited_for_as_long_as_for_an_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(wires, "CONNECT_SECONDS", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(TimeoutError):
        connected(f"https://127.0.0.1:{silent.getsockname()[1]}", 600, ssl.create_default_context())


def test_a_connection_waits_for_answers_as_long_as_it_was_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        made = connected(f"http://127.0.0.1:{server.getsockname()[1]}", 600, None)
        assert made.sock.gettimeout() == 600
        made.close()
