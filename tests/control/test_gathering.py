"""The poller's room: who has to go when there is no more of it."""

from __future__ import annotations

import errno
import os
import selectors
import socket
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from gunicorn.config import Config

from control import gathering
from control.arriving import Arriving
from control.gathering import Caller, GatheringWorker

LATER = 1e12
"""A moment long after all that is waited for."""


class Poller:
    """A worker whose connections are handed to it, and which nobody polls."""

    def __init__(self) -> None:
        self.noted: list[tuple[bytes, str]] = []
        self.handed_over: list[Caller] = []
        self.clients: list[socket.socket] = []
        log = SimpleNamespace(debug=print, info=print, warning=print, exception=print)
        self.worker = GatheringWorker(1, os.getppid(), [], SimpleNamespace(), 30, Config(), log)
        self.worker.poller = selectors.DefaultSelector()
        self.worker.most = lambda _head: 1_000_000
        self.worker.note = lambda came, reason: self.noted.append((came, reason))
        self.worker.look = lambda: None
        self.worker.enqueue_req = self.handed_over.append

    def connect(self, words: bytes = b"") -> socket.socket:
        """A client that said this."""
        there, here = socket.socketpair()
        there.settimeout(5)
        self.clients.append(there)
        self.worker.nr_conns += 1
        arriving = Arriving(self.worker.most, 0.0, 5.0)
        self.worker._wait(Caller(self.worker.cfg, here, ("127.0.0.1", 1), ("127.0.0.1", 2), arriving))
        there.sendall(words)
        self.poll()
        return there

    def poll(self) -> None:
        """Let the worker look at all that came."""
        while events := self.worker.poller.select(0):
            for key, _ in events:
                key.data(key.fileobj)

    def close(self) -> None:
        for caller in [*self.worker._waiting, *self.handed_over]:
            caller.sock.close()
        for client in self.clients:
            client.close()
        self.worker.poller.close()
        self.worker.tmp.close()


@pytest.fixture
def poller() -> Iterator[Poller]:
    made = Poller()
    yield made
    made.close()


def hears(client: socket.socket) -> bytes:
    words = b""
    while piece := client.recv(4096):
        words += piece
    return words


def large(size: int) -> bytes:
    return b"POST /hooks/gitea HTTP/1.1\r\nContent-Length: 90000\r\n\r\n" + b"x" * size


def test_the_longest_waiting_goes_when_too_many_wait(poller: Poller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "WAITING", 2)
    first, second, third = (poller.connect(b"POST /hooks/x") for _ in range(3))
    assert hears(first).startswith(b"HTTP/1.1 408 ") and poller.worker.nr_conns == 2
    assert poller.noted == [(b"POST /hooks/x", "too_slow")]
    for client in (second, third):
        client.sendall(b" HTTP/1.1\r\n\r\n")
    poller.poll()
    assert len(poller.handed_over) == 2


def test_the_largest_goes_when_what_is_not_whole_takes_too_much_room(
    poller: Poller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathering, "ROOM", 30_000)
    small, big = poller.connect(large(5_000)), poller.connect(large(20_000))
    assert poller.noted == []
    last = poller.connect(large(8_000))
    assert hears(big).startswith(b"HTTP/1.1 408 ")
    for client, missing in ((small, 85_000), (last, 82_000)):
        monkeypatch.setattr(gathering, "ROOM", 10_000_000)
        client.sendall(b"x" * missing)
        poller.poll()
    assert [caller.arriving.whole for caller in poller.handed_over] == [True, True]
    assert poller.worker._held == 0


def test_a_machine_without_descriptors_makes_room_instead_of_ending_the_worker(poller: Poller) -> None:
    def full() -> Any:
        raise OSError(errno.EMFILE, "too many open files")

    idle = poller.connect()
    poller.worker.accept(SimpleNamespace(accept=full))
    assert hears(idle) == b"" and poller.worker.nr_conns == 0


def test_who_is_late_is_told_and_who_never_spoke_is_closed_in_silence(
    poller: Poller, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent, late = poller.connect(), poller.connect(b"GET / HT")
    monkeypatch.setattr(gathering, "time", SimpleNamespace(monotonic=lambda: LATER))
    poller.worker.murder_pending()
    assert hears(silent) == b"" and hears(late).startswith(b"HTTP/1.1 408 ")
    late.close()
    poller.poll()
    assert poller.worker.nr_conns == 0 and not poller.worker._waiting


def test_a_worker_that_is_to_end_waits_for_nobody_beyond_its_time(poller: Poller) -> None:
    poller.connect()
    poller.worker._cap_keepalive(0.0)
    poller.worker.murder_pending()
    assert poller.worker.nr_conns == 0


def test_a_caller_that_resets_its_connection_is_forgotten(poller: Poller) -> None:
    poller.connect(b"GET").close()
    poller.connect().close()
    poller.poll()
    (half,) = poller.handed_over
    assert not half.arriving.whole, "its parser says what is wrong with it"
    assert not poller.worker._waiting
