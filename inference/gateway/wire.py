"""One connection to an engine: HTTP/1.1 as far as posting JSON and reading the answer needs it.

The standard library's client spends more time on a call than all of the gateway's own decisions: it sends head and
body apart, and reads heads as mail. Here a call is one write, and a body is read as it comes: what a read that timed
out had found is kept for the next one, so that a stream can be waited for with a clock.
"""

from __future__ import annotations

import socket
import ssl
from functools import lru_cache
from urllib.parse import urlsplit

PIECE = 65536
"""Bytes read at most at a time."""
HEAD_BYTES = 65536
LINE_BYTES = 4096
"""Longest line that says the size of a chunk, or that follows the last one."""
CONNECT_SECONDS = 5.0
"""How long a server may take to take a connection and to show its certificate: a call does not wait for one that is
cut off as long as for an answer."""
BARE = frozenset({204, 304})
"""Statuses of answers that have no body, whatever their heads say."""


class Garbled(OSError):
    """The other side does not speak HTTP."""


class Wire:
    """A connection, and the answer that is being read from it."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.over = True
        """The answer was read to its end, and the next call may be sent."""
        self._kept = True
        self._rest = b""
        self._body: Body = Body()

    def post(self, head: bytes, id: str, body: bytes) -> None:
        """Send a call and read the head of its answer; `id` is the request's. Raises OSError, Garbled among others."""
        self.over = False
        told = f"x-request-id: {id}\r\n" if id else ""
        self.sock.sendall(head + f"{told}Content-Length: {len(body)}\r\n\r\n".encode("ascii") + body)
        status = 100
        while 100 <= status < 200:
            status, self.headers = self._head()
        self.status = status
        self._body = self._framed()
        self.over = self._body.over

    def piece(self) -> bytes:
        """What has come of the body, at least a byte; empty at its end.

        Raises:
            TimeoutError: nothing came in time; the same may be asked again.
            OSError: the answer ended before its end.
        """
        while not self.over:
            raw, self._rest = self._rest or self.sock.recv(PIECE), b""
            if not raw:
                if not self._body.endless:
                    raise ConnectionResetError("the connection was closed in the middle of an answer")
                self.over = True
                break
            found = self._body.feed(raw)
            self.over = self._body.over
            if found:
                return found
        return b""

    def read(self) -> bytes:
        """The whole body. Raises OSError."""
        pieces = []
        while piece := self.piece():
            pieces.append(piece)
        return b"".join(pieces)

    @property
    def reusable(self) -> bool:
        """Whether another call may be sent."""
        return self.over and self._kept and not self._rest

    def close(self) -> None:
        self.sock.close()

    def _head(self) -> tuple[int, dict[bytes, bytes]]:
        raw = self._rest
        while (end := raw.find(b"\r\n\r\n")) < 0:
            if len(raw) > HEAD_BYTES:
                raise Garbled("the head of the answer has no end")
            more = self.sock.recv(PIECE)
            if not more:
                raise ConnectionResetError("the connection was closed before an answer came")
            raw += more
        self._rest = raw[end + 4 :]
        first, *lines = raw[:end].split(b"\r\n")
        version, _, status = first.partition(b" ")
        if not version.startswith(b"HTTP/1.") or not status[:3].isdigit() or len(status[:3]) < 3:
            raise Garbled(f"this is no HTTP: {first[:100]!r}")
        headers = {}
        for line in lines:
            name, _, value = line.partition(b":")
            headers[name.lower()] = value.strip()
        self._kept = version == b"HTTP/1.1" and headers.get(b"connection", b"").lower() != b"close"
        return int(status[:3]), headers

    def _framed(self) -> Body:
        """How the body of this answer ends."""
        if self.status in BARE:
            return Sized(0)
        if b"transfer-encoding" in self.headers:
            if self.headers[b"transfer-encoding"].lower() != b"chunked":
                raise Garbled(f"unknown transfer coding {self.headers[b'transfer-encoding']!r}")
            return Chunked()
        length = self.headers.get(b"content-length")
        if length is None:
            self._kept = False
            return Body()
        if not length.isdigit():
            raise Garbled(f"no length of a body: {length!r}")
        return Sized(int(length))


class Body:
    """A body that ends with its connection. Takes the bytes from the wire, gives those of the body."""

    endless = True
    over = False

    def feed(self, raw: bytes) -> bytes:
        """The part of the body in these bytes, which may be nothing."""
        return raw


class Sized(Body):
    """A body of known length. What comes after it was asked for by nobody and spoils the connection."""

    endless = False

    def __init__(self, size: int) -> None:
        self._left = size
        self.over = size == 0

    def feed(self, raw: bytes) -> bytes:
        if len(raw) > self._left:
            raise Garbled("the answer is longer than it said")
        self._left -= len(raw)
        self.over = not self._left
        return raw


class Chunked(Body):
    """A body in chunks, each after a line with its size; the last one is empty, and lines may follow it."""

    endless = False

    def __init__(self) -> None:
        self._rest = b""
        self._left = 0
        """Bytes of the chunk that are still to come, with the line end after them."""
        self._last = False

    def feed(self, raw: bytes) -> bytes:
        raw, found, at = self._rest + raw, [], 0
        while at < len(raw) and not self.over:
            if self._left > 2:
                part = raw[at : at + self._left - 2]
                found.append(part)
                at, self._left = at + len(part), self._left - len(part)
                continue
            end = raw.find(b"\r\n", at)
            if end < 0:
                if len(raw) - at > LINE_BYTES:
                    raise Garbled("a line between two chunks has no end")
                break
            self._line(raw[at:end])
            at = end + 2
        self._rest = raw[at:]
        if self.over and self._rest:
            raise Garbled("the answer goes on after its last chunk")
        return b"".join(found)

    def _line(self, line: bytes) -> None:
        """The end of a chunk, the size of the next one, or something after the last one."""
        if self._left or self._last:
            self._left, self.over = 0, self._last and not line
            if line and not self._last:
                raise Garbled("a chunk is longer than it said")
            return
        try:
            size = int(line.partition(b";")[0], 16)
        except ValueError as error:
            raise Garbled(f"no size of a chunk: {line[:100]!r}") from error
        if size < 0:
            raise Garbled(f"no size of a chunk: {line[:100]!r}")
        self._left, self._last = size + 2 if size else 0, not size


def connected(url: str, timeout: float, context: ssl.SSLContext | None) -> Wire:
    """A new connection to the server at `url`; `context` where it shows a certificate. Raises OSError.

    `timeout` is for what is read and written later, in seconds.
    """
    host, port, _ = place_of(url)
    sock = socket.create_connection((host, port), min(timeout, CONNECT_SECONDS))
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if context is not None:
            sock = context.wrap_socket(sock, server_hostname=host)
        sock.settimeout(timeout)
        return Wire(sock)
    except BaseException:
        sock.close()
        raise


@lru_cache(maxsize=256)
def place_of(url: str) -> tuple[str, int, str]:
    """Host, port and path of an engine's address."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return parts.hostname or "127.0.0.1", port, parts.path.rstrip("/")


@lru_cache(maxsize=256)
def head_of(url: str, path: str, token: str) -> bytes:
    """The head of a call, as far as it is the same for all."""
    host, port, base = place_of(url)
    host = f"[{host}]" if ":" in host else host
    lines = [f"POST {base}{path} HTTP/1.1", f"Host: {host}:{port}", "Accept-Encoding: identity",
             "Content-Type: application/json"]  # fmt: skip
    lines += [f"Authorization: Bearer {token}"] if token else []
    return "".join(f"{' '.join(line.split())}\r\n" for line in lines).encode("ascii")
