"""Connections to engines: kept open, checked before they are used again, and known to the watch while they wait."""

from __future__ import annotations

import http.client
import select
import socket
import ssl
from collections.abc import Iterator
from urllib.parse import urlsplit

from gevent import monkey

from inference.gateway.watch import Trip

LOST = (OSError, http.client.HTTPException)
"""What a connection raises when the other side is not there or goes away."""
IDLE_PER_ENGINE = 64
PIECE = 65536
"""Bytes read from a stream at most at a time."""


class Answer:
    """An engine's answer whose body is still to be read. Reading it to its end gives the connection back."""

    def __init__(self, upstream: Upstream, url: str, connection: http.client.HTTPConnection, trip: Trip) -> None:
        self._upstream = upstream
        self._url = url
        self._connection = connection
        self._trip = trip
        self._response = connection.getresponse()
        self.status = self._response.status
        self._over = False

    @property
    def retry_after(self) -> float | None:
        """Seconds the engine asks to be left alone for."""
        said = self._response.getheader("Retry-After") or ""
        return float(said) if said.isascii() and said.isdecimal() and len(said) < 7 else None

    def read(self) -> bytes:
        """The whole body. Raises one of LOST."""
        body = self._response.read()
        self._done()
        return body

    def piece(self) -> bytes:
        """What has come, at least a byte; empty at the end. Raises one of LOST."""
        data = self._response.read1(PIECE)
        if not data:
            self._done()
        return data

    def pieces(self) -> Iterator[bytes]:
        """The body as it comes."""
        while data := self.piece():
            yield data

    def close(self) -> None:
        """Hang up, which makes the engine stop. Does nothing after the end: then the connection serves others."""
        if not self._over:
            self._over = True
            self._trip.hold(None)
            self._connection.close()

    def _done(self) -> None:
        self._over = True
        self._trip.hold(None)
        # A connection that was hung up on meanwhile looks like one that ended: it is not to be used again.
        if self._trip.ended or self._response.will_close or not self._response.isclosed():
            self._connection.close()
        else:
            self._upstream.give_back(self._url, self._connection)


class Upstream:
    """Posts to engines."""

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._idle: dict[str, list[http.client.HTTPConnection]] = {}
        self._contexts: dict[str, ssl.SSLContext] = {}

    def post(self, url: str, path: str, body: bytes, token: str, trip: Trip, ca_file: str = "") -> Answer:
        """Send and wait for the answer's first line. Raises one of LOST.

        An engine on another machine shows a certificate: `ca_file` is the CA that must vouch for it.
        A kept connection that the engine closed just now is no failure: the call goes out again on a new one.
        """
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        headers |= {"x-request-id": trip.id} if trip.id else {}
        kept = self._take(url)
        if kept is not None:
            try:
                return self._send(kept, url, path, body, headers, trip)
            except (ConnectionError, http.client.BadStatusLine):
                if trip.ended:
                    raise
        return self._send(self._new(url, ca_file), url, path, body, headers, trip)

    def _send(
        self,
        connection: http.client.HTTPConnection,
        url: str,
        path: str,
        body: bytes,
        headers: dict[str, str],
        trip: Trip,
    ) -> Answer:
        try:
            if connection.sock is None:
                connection.connect()
            trip.hold(connection.sock)
            connection.request("POST", urlsplit(url).path.rstrip("/") + path, body, headers)
            return Answer(self, url, connection, trip)
        except BaseException:
            trip.hold(None)
            connection.close()
            raise

    def _new(self, url: str, ca_file: str) -> http.client.HTTPConnection:
        parts = urlsplit(url)
        host = parts.hostname or "127.0.0.1"
        if parts.scheme != "https":
            return http.client.HTTPConnection(host, parts.port, timeout=self._timeout)
        return http.client.HTTPSConnection(host, parts.port, timeout=self._timeout, context=self._trust(ca_file))

    def _trust(self, ca_file: str) -> ssl.SSLContext:
        """Certificates are checked against this CA alone. Read once: a new CA wants a new start. Raises OSError."""
        if ca_file not in self._contexts:
            self._contexts[ca_file] = ssl.create_default_context(cafile=ca_file or None)
        return self._contexts[ca_file]

    def _take(self, url: str) -> http.client.HTTPConnection | None:
        idle = self._idle.get(url, [])
        while idle:
            connection = idle.pop()
            if connection.sock is not None and not _closed(connection.sock):
                return connection
            connection.close()
        return None

    def give_back(self, url: str, connection: http.client.HTTPConnection) -> None:
        """Keep a connection for the next call."""
        idle = self._idle.setdefault(url, [])
        if len(idle) < IDLE_PER_ENGINE:
            idle.append(connection)
        else:
            connection.close()

    def forget(self, url: str) -> None:
        """Close what is kept to an engine that does not answer."""
        for connection in self._idle.pop(url, []):
            connection.close()


def _closed(sock: socket.socket) -> bool:
    """Whether an idle connection has something to read: its end, or bytes nobody asked for."""
    poll = monkey.get_original("select", "poll")()
    poll.register(sock.fileno(), select.POLLIN | select.POLLRDHUP)
    return bool(poll.poll(0))
