"""Connections to engines: kept open, checked before they are used again, and known to the watch while they wait."""

from __future__ import annotations

import select
import socket
import ssl

from gevent import monkey

from inference.gateway.watch import Trip
from inference.gateway.wire import Wire, connected, head_of

LOST = (OSError,)
"""What a connection raises when the other side is not there, goes away, or says what is no answer."""
IDLE_PER_ENGINE = 64


class Answer:
    """An engine's answer whose body is still to be read. Reading it to its end gives the connection back."""

    def __init__(self, upstream: Upstream, url: str, wire: Wire, trip: Trip) -> None:
        self._upstream = upstream
        self._url = url
        self._wire = wire
        self._trip = trip
        self.status = wire.status
        self._over = False

    @property
    def retry_after(self) -> float | None:
        """Seconds the engine asks to be left alone for."""
        said = self._wire.headers.get(b"retry-after", b"")
        return float(said) if said.isdigit() and len(said) < 7 else None

    def read(self) -> bytes:
        """The whole body. Raises one of LOST."""
        body = self._wire.read()
        self._done()
        return body

    def piece(self) -> bytes:
        """What has come, at least a byte; empty at the end. Raises one of LOST."""
        data = self._wire.piece()
        if not data:
            self._done()
        return data

    def piece_within(self, seconds: float) -> bytes | None:
        """The same; None when nothing came in this time."""
        wire = self._wire
        before = wire.sock.gettimeout()
        wire.sock.settimeout(seconds)
        try:
            return self.piece()
        except TimeoutError:
            return None
        finally:
            wire.sock.settimeout(before)

    def close(self) -> None:
        """Hang up, which makes the engine stop. Does nothing after the end: then the connection serves others."""
        if not self._over:
            self._over = True
            self._trip.hold(None)
            self._wire.close()

    def _done(self) -> None:
        if self._over:
            return
        self._over = True
        self._trip.hold(None)
        # A connection that was hung up on meanwhile looks like one that ended: it is not to be used again.
        if self._trip.ended or not self._wire.reusable:
            self._wire.close()
        else:
            self._upstream.give_back(self._url, self._wire)


class Upstream:
    """Posts to engines."""

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._idle: dict[str, list[Wire]] = {}
        self._contexts: dict[str, ssl.SSLContext] = {}

    def post(self, url: str, path: str, body: bytes, token: str, trip: Trip, ca_file: str = "") -> Answer:
        """Send and wait for the answer's first line. Raises one of LOST.

        An engine on another machine shows a certificate: `ca_file` is the CA that must vouch for it.
        A kept connection that the engine closed just now is no failure: the call goes out again on a new one.
        """
        head = head_of(url, path, token)
        kept = self._take(url)
        if kept is not None:
            try:
                return self._send(kept, url, head, body, trip)
            except ConnectionError:
                if trip.ended:
                    raise
        context = self._trust(ca_file) if url.startswith("https:") else None
        return self._send(connected(url, self._timeout, context), url, head, body, trip)

    def _send(self, wire: Wire, url: str, head: bytes, body: bytes, trip: Trip) -> Answer:
        try:
            trip.hold(wire.sock)
            wire.post(head, trip.id, body)
            return Answer(self, url, wire, trip)
        except BaseException:
            trip.hold(None)
            wire.close()
            raise

    def _trust(self, ca_file: str) -> ssl.SSLContext:
        """Certificates are checked against this CA alone. Read once: a new CA wants a new start. Raises OSError."""
        if ca_file not in self._contexts:
            self._contexts[ca_file] = ssl.create_default_context(cafile=ca_file or None)
        return self._contexts[ca_file]

    def _take(self, url: str) -> Wire | None:
        idle = self._idle.get(url, [])
        while idle:
            wire = idle.pop()
            if not _closed(wire.sock):
                return wire
            wire.close()
        return None

    def give_back(self, url: str, wire: Wire) -> None:
        """Keep a connection for the next call."""
        idle = self._idle.setdefault(url, [])
        if len(idle) < IDLE_PER_ENGINE:
            idle.append(wire)
        else:
            wire.close()

    def forget(self, url: str) -> None:
        """Close what is kept to an engine that does not answer."""
        for wire in self._idle.pop(url, []):
            wire.close()


def _closed(sock: socket.socket) -> bool:
    """Whether an idle connection has something to read: its end, or bytes nobody asked for."""
    poll = monkey.get_original("select", "poll")()
    poll.register(sock.fileno(), select.POLLIN | select.POLLRDHUP)
    return bool(poll.poll(0))
