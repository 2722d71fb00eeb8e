"""The Unix socket of the learning process: one question a connection, for this user alone."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socketserver
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from appliance.config import Home
from appliance.errors import FactoryError, LimitExceeded, UsageError
from appliance.learning.client import CONTENT, socket_file
from appliance.sockets import short_name

log = logging.getLogger("appliance.learning")

LONGEST_QUESTION = 64 * 1024
MOST_DRAINED = 1024 * 1024
PATIENCE_SECONDS = 10.0
"""How long a caller may take to say what it wants."""
AT_ONCE = 8

Answer = Callable[[dict[str, Any]], dict[str, Any]]


class Door:
    """Listens while it is open (`with`)."""

    def __init__(self, home: Home, answer: Answer) -> None:
        file = socket_file(home)
        file.unlink(missing_ok=True)  # a killed process left it; the home's lock says that nobody else listens
        with short_name(file) as name:
            before = os.umask(0o177)
            try:
                self._server = _Server(name, answer)
            finally:
                os.umask(before)
        self._file = file
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.2,), name="door", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._file.unlink(missing_ok=True)


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, name: str, answer: Answer) -> None:
        self.answer = answer
        self.places = threading.Semaphore(AT_ONCE)
        super().__init__(name, _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - socketserver's signature
        log.exception("a question could not be answered")


class _Handler(socketserver.StreamRequestHandler):
    timeout = PATIENCE_SECONDS

    def handle(self) -> None:
        server = self.server
        assert isinstance(server, _Server)
        try:
            if not server.places.acquire(blocking=False):
                raise LimitExceeded(f"{AT_ONCE} questions are being answered", "ask again in a moment")
            try:
                told = server.answer(self._question())
            finally:
                server.places.release()
        except FactoryError as error:
            told = error.as_dict()
        except TimeoutError:
            return
        content = told.pop(CONTENT, b"")
        if content:
            told["bytes"] = len(content)
        with contextlib.suppress(ConnectionError):  # who asked has left, or only looked whether we are here
            self.wfile.write(json.dumps(told, default=str, ensure_ascii=False).encode() + b"\n" + content)

    def _question(self) -> dict[str, Any]:
        line = self.rfile.readline(LONGEST_QUESTION + 1)
        if len(line) > LONGEST_QUESTION:
            self.rfile.read(MOST_DRAINED)  # closing on unread bytes would reset the connection, and the answer with it
        try:
            question = json.loads(line)
        except ValueError:
            question = None
        if not isinstance(question, dict) or len(line) > LONGEST_QUESTION:
            raise UsageError("a question is one line with one JSON object", "see appliance/learning/client.py")
        return question
