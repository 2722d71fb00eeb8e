"""gunicorn's gevent worker, which shakes hands of TLS where the port speaks it.

A greenlet shakes hands, for HANDSHAKE_SECONDS at most: who connects and says nothing holds up nobody. The socket inside
the home speaks plain HTTP: nobody but the box's own user opens it.
"""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
from typing import Any

from gevent.ssl import SSLSocket
from gunicorn.workers.ggevent import GeventWorker

from appliance.tls import HANDSHAKE_SECONDS, ServerTls, is_plain

LINGER_SECONDS = 2.0
"""Until a caller has heard the end of a connection."""
_BODY = json.dumps({"error": {
    "message": "this port speaks TLS, and the request is plain HTTP: ask https://", "type": "invalid_request_error",
    "code": "not_encrypted", "param": None,
}}).encode()  # fmt: skip
PLAIN = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(_BODY), _BODY)
)
"""What a caller without TLS hears, in the shape of the gateway's errors."""


class Worker(GeventWorker):  # type: ignore[misc]
    """`tls` is set before it runs; None: the port speaks plain HTTP."""

    tls: ServerTls | None = None

    def handle(self, listener: Any, client: Any, addr: Any) -> None:
        """One connection, from its handshake to its end."""
        if self.tls is None or listener.family == socket.AF_UNIX:
            super().handle(listener, client, addr)
            return
        greeted = self._greeted(client)
        if greeted is not None:
            super().handle(listener, greeted, addr)

    def _greeted(self, client: Any) -> Any:
        """The connection after the handshake; None when there is to be none."""
        assert self.tls is not None
        client.settimeout(HANDSHAKE_SECONDS)
        context = self.tls.context()
        context.sslsocket_class = Parting
        try:
            greeted = context.wrap_socket(client, server_side=True, do_handshake_on_connect=False)
        except OSError:  # it is gone already
            client.close()
            return None
        try:
            greeted.do_handshake()
        except OSError as error:  # also its time is over
            if isinstance(error, ssl.SSLError) and is_plain(error):
                _refuse_plain(greeted)
            greeted.close()
            return None
        return greeted


class Parting(SSLSocket):  # type: ignore[misc]
    """Says at its end that nothing was cut off: TLS has a word for that."""

    def close(self) -> None:
        """Say it, wait a moment for the other's, and close."""
        with contextlib.suppress(OSError, ValueError):  # ValueError: it was said, or hands were not shaken
            self.settimeout(LINGER_SECONDS)
            self.unwrap()
        super().close()


def _refuse_plain(greeted: Any) -> None:
    with contextlib.suppress(OSError):
        greeted.settimeout(LINGER_SECONDS)
        socket.socket.send(greeted, PLAIN)
        socket.socket.shutdown(greeted, socket.SHUT_WR)
        while socket.socket.recv(greeted, 4096):  # closed with something unread, the words could be lost
            pass
