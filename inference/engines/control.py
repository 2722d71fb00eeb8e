"""The engines' control door: a little HTTP/1.1 with JSON on a Unix socket that only its owner can open.

GET /healthz, GET /engines, GET /models, POST /show {"model"}, POST /load {"model", "again", "context_tokens", "slots",
"pin", "keep"}, POST /unload {"model"}, POST /look {"model"}, POST /use {"models"}. All fields of an order but the model
may be left out.
"""

from __future__ import annotations

import json
import os
import socketserver
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from appliance.errors import (
    Conflict,
    FactoryError,
    LimitExceeded,
    NotFound,
    PolicyRefused,
    Unavailable,
    UsageError,
    VerificationFailed,
)
from appliance.sockets import short_name
from inference.engines.pool import Pool
from inference.engines.seating import Options
from inference.engines.showing import Showing

MAX_BODY = 64 * 1024
PATHS = "GET /engines, GET /models, POST /show, POST /load, POST /unload, POST /look, POST /use"
STATUS: tuple[tuple[type[FactoryError], int], ...] = (
    (NotFound, 404),
    (UsageError, 400),
    (PolicyRefused, 403),
    (Conflict, 409),
    (VerificationFailed, 422),
    (Unavailable, 503),
    (LimitExceeded, 507),
)
"""HTTP status of each error; the first class that fits."""


class ControlServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """Listens on `path`; a socket left by a killed process is taken over (its owner held a lock, so it is gone)."""

    daemon_threads = True

    def __init__(self, path: Path, pool: Pool, showing: Showing) -> None:
        self.pool = pool
        self.showing = showing
        self.path = path
        path.unlink(missing_ok=True)
        before = os.umask(0o177)
        try:
            with short_name(path) as name:
                super().__init__(name, _Handler)
        finally:
            os.umask(before)

    def close(self) -> None:
        """Stop answering and take the socket away."""
        self.shutdown()
        self.server_close()
        self.path.unlink(missing_ok=True)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30.0
    server: ControlServer

    def do_GET(self) -> None:
        match self.path:
            case "/healthz":
                self._send(200, {"ok": True, "pid": os.getpid()})
            case "/engines":
                self._send(200, self.server.pool.rows())
            case "/models":
                self._send(200, self.server.showing.models(self.server.pool.rows()))
            case _:
                self._send_error(NotFound(f"there is no {self.path}", PATHS))

    def do_POST(self) -> None:
        try:
            made = self._order()
        except FactoryError as error:
            self._send_error(error)
        except OSError as error:  # a key or a log that cannot be written
            why = f"the engines process cannot write: {error.strerror or error}"
            self._send_error(Unavailable(why, "look at the home's disk and its rights"))
        else:
            self._send(200, made)

    def _order(self) -> dict[str, Any]:
        body = self._body()
        if self.path == "/use":
            self.server.pool.use(_names(body, "models"))
            return {"ok": True}
        model = body.get("model")
        if not isinstance(model, str):
            raise UsageError("the body names no model", 'send {"model": "…"}')
        match self.path:
            case "/load":
                options = Options(_count(body, "context_tokens"), _count(body, "slots"), _flag(body, "pin"))
                return self.server.pool.load(model, body.get("again") is True, options, _names(body, "keep"))
            case "/unload":
                return self.server.pool.unload(model)
            case "/show":
                return self.server.showing.model(model, self.server.pool.rows())
            case "/look":
                return self.server.pool.look(model)
        raise NotFound(f"there is no {self.path}", PATHS)

    def _body(self) -> dict[str, Any]:
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or int(length) > MAX_BODY:
            self.close_connection = True
            raise UsageError("the body has no or too great a length", f"send at most {MAX_BODY} bytes")
        try:
            body = json.loads(self.rfile.read(int(length)))
        except ValueError as error:
            raise UsageError(f"the body is not JSON: {error}", 'send {"model": "…"}') from error
        if not isinstance(body, dict):
            raise UsageError("the body is not a JSON object", 'send {"model": "…"}')
        return body

    def _send_error(self, error: FactoryError) -> None:
        self._send(next((status for kind, status in STATUS if isinstance(error, kind)), 500), error.as_dict())

    def _send(self, status: int, body: Any) -> None:
        raw = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def address_string(self) -> str:
        return "unix"  # a Unix peer has no address

    def log_message(self, format: str, *args: Any) -> None:
        """Orders are visible in what they change; a line for each look would only fill the log."""


def _names(body: dict[str, Any], field: str) -> list[str]:
    value = body.get(field, [])
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise UsageError(f"{field} is not a list of names", f'send {{"{field}": ["…"]}}')
    return value


def _count(body: dict[str, Any], field: str) -> int:
    value = body.get(field, 0)
    if type(value) is not int or value < 0:
        raise UsageError(f"{field} is not a whole number from 0 on", "0 leaves it as the settings say")
    return value


def _flag(body: dict[str, Any], field: str) -> bool | None:
    value = body.get(field)
    if value is not None and not isinstance(value, bool):
        raise UsageError(f"{field} is neither true nor false", "leave it out to change nothing")
    return value
