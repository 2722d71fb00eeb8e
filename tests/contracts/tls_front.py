"""TLS in front of a plain server on the loopback: what a cluster's load balancer does, byte for byte."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading


class TlsFront:
    """Takes TLS connections on a port of its own and passes their bytes on; refuses them while nobody is behind."""

    def __init__(self, context: ssl.SSLContext, behind: int) -> None:
        self._context = context
        self._behind = behind
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def reaches(self) -> bool:
        """Whether somebody listens behind it."""
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._behind), 1):
            return True
        return False

    def close(self) -> None:
        self._listener.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                outer, _ = self._listener.accept()
                threading.Thread(target=self._pass, args=(outer,), daemon=True).start()

    def _pass(self, outer: socket.socket) -> None:
        with contextlib.suppress(OSError), outer:
            inner = socket.create_connection(("127.0.0.1", self._behind))
            with inner, self._context.wrap_socket(outer, server_side=True) as secure:
                back = threading.Thread(target=_copy, args=(inner, secure), daemon=True)
                back.start()
                _copy(secure, inner)
                back.join(5)


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
