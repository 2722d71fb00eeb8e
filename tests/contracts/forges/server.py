"""What all the test servers share beyond the project: HTTP, tokens, small pages, rate limits, git, and real webhooks.

A server of one forge subclasses `Server` and says what is its own: `routes` (its API), `caller` (how a token comes),
`packets` and `signed` (its webhooks), `refusals` (its codes). Shared and not to be written again:

- `/team/shop.git` through git's own http-backend; the password is a token, the right is looked up, and what a push
  moves is told as a push event.
- Webhooks go out from a thread of their own to each `hook`, with a delivery id, and are kept in `deliveries` with what
  the receiver answered (0: it never arrived). `settled()` waits for all; `redeliver(id)` sends one again;
  `blocked = True` sends none at all, as a forge does that may not call private addresses.
- `limited = True` answers 429 to everything; `spoiled` answers any API call with a given response.
- `stop()` and `start()`: the same port, the same state.
"""

from __future__ import annotations

import os
import queue
import re
import subprocess
import threading
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeVar
from urllib.parse import urlencode, urlsplit

import httpx
from flask import Flask, Response, abort, jsonify, request
from werkzeug.serving import BaseWSGIServer, make_server

from tests.contracts.forges.nouns import Happened, Refused, Right
from tests.contracts.forges.project import Project

PAGE = 2
"""Rows of one page at most: few, so that whoever reads one page alone is found out."""


@dataclass
class Hook:
    id: int
    url: str
    secret: str
    active: bool = True


@dataclass
class Delivery:
    """One webhook as it was sent."""

    id: str
    hook: Hook
    event: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    code: int = 0


class Server(Project):
    """One forge on a port of its own."""

    kind: ClassVar[str]
    api: ClassVar[str]
    """Where its API begins, like /api/v1."""
    refusals: ClassVar[Mapping[str, tuple[int, str]]] = {}
    """Reason (see nouns.Refused) → status code and words."""
    offers: ClassVar[tuple[str, ...]] = ("merge", "squash", "rebase", "rebase-merge", "fast-forward")
    """Merge styles it has."""
    states: ClassVar[tuple[str, ...]] = ("pending", "success", "failure", "error")
    """What it calls the status of a gate under way, passed, failed, and without a result."""
    resent_anew: ClassVar[bool] = False
    """A delivery that is sent again has a new id."""

    def __init__(self, bare: Path) -> None:
        super().__init__(bare)
        self.port = 0
        self.calls: list[str] = []
        self.limited = False
        self.blocked = False
        self.spoiled: tuple[int, bytes, Mapping[str, str]] | None = None
        self.hooks: list[Hook] = []
        self.team_hooks: list[Hook] = []
        """Webhooks of the organisation or group `team`, which its owners see."""
        self.deliveries: list[Delivery] = []
        self._waiting: queue.Queue[Delivery | None] = queue.Queue()
        self._running: BaseWSGIServer | None = None
        self._threads: list[threading.Thread] = []

    # -- what each forge says in its own way --------------------------------------------------------------------------

    def routes(self, app: Flask) -> None:
        """Add the API."""
        raise NotImplementedError

    def caller(self) -> str:
        """The token of the request, "" for none."""
        raise NotImplementedError

    def packets(self, happened: Happened) -> Iterable[tuple[str, dict[str, Any]]]:
        """The webhooks that something causes: event and payload."""
        raise NotImplementedError

    def signed(self, delivery: Delivery) -> dict[str, str]:
        """A webhook's headers."""
        raise NotImplementedError

    def error(self, code: int, message: str) -> Response:
        answer = jsonify({"message": message})
        answer.status_code = code
        return answer

    # -- for the routes -----------------------------------------------------------------------------------------------

    @property
    def login(self) -> str:
        """Who asks."""
        return str(request.environ["login"])

    def refuse(self, code: int, message: str) -> Any:
        abort(self.error(code, message))

    def need(self, right: Right, code: int = 403, message: str = "you may not do this") -> None:
        if not self.may(self.login, right):
            self.refuse(code, message)

    def page(self, rows: list[Any], size: str = "limit") -> tuple[list[Any], int, bool]:
        """The rows of the page asked for, its number, and whether more follow."""
        number = max(1, int(request.args.get("page", 1)))
        length = max(1, min(PAGE, int(request.args.get(size, PAGE))))
        return rows[(number - 1) * length : number * length], number, number * length < len(rows)

    def linked(self, rows: list[Any], size: str = "limit") -> Response:
        """A page with a Link header to the next."""
        shown, number, more = self.page(rows, size)
        answer = jsonify(shown)
        if more:
            others = [(key, value) for key, value in request.args.items(multi=True) if key != "page"]
            asked = urlencode([*others, ("page", number + 1)])
            path = urlsplit(request.environ["RAW_URI"]).path  # as it was sent: what is one part of it stays one
            answer.headers["Link"] = f'<{self.url}{path}?{asked}>; rel="next"'
        return answer

    # -- webhooks -----------------------------------------------------------------------------------------------------

    def hook(self, url: str, secret: str) -> Hook:
        """Have what happens sent to an address."""
        self.hooks.append(Hook(len(self.hooks) + 1, url, secret))
        return self.hooks[-1]

    def told(self, happened: Happened) -> None:
        hooks = [one for one in self.hooks if one.active]
        for event, payload in self.packets(happened) if hooks else ():
            for hook in hooks:
                self._send(Delivery(str(uuid.uuid4()), hook, event, self.packed(payload)))

    def packed(self, payload: Any) -> bytes:
        return bytes(self.app.json.dumps(payload).encode())

    def redeliver(self, id: str) -> Delivery:
        """Send a delivery once more."""
        old = next(one for one in self.deliveries if one.id == id)
        new = Delivery(str(uuid.uuid4()) if self.resent_anew else id, old.hook, old.event, old.body)
        self._send(new)
        return new

    def settled(self) -> None:
        """Wait until everything is sent."""
        self._waiting.join()

    def _send(self, delivery: Delivery) -> None:
        delivery.headers = {
            "Content-Type": "application/json", "User-Agent": f"{self.kind}/1", **self.signed(delivery),
        }  # fmt: skip
        self.deliveries.append(delivery)
        if not self.blocked:
            self._waiting.put(delivery)

    def _deliver(self) -> None:
        with httpx.Client(trust_env=False, timeout=30) as http:
            while True:
                delivery = self._waiting.get()
                try:
                    if delivery is None:
                        return
                    answer = http.post(delivery.hook.url, content=delivery.body, headers=dict(delivery.headers))
                    delivery.code = answer.status_code
                except httpx.TransportError:
                    pass
                finally:
                    self._waiting.task_done()

    # -- serving ------------------------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def git_url(self, token: str = "t0ken") -> str:
        """Where git finds it, with a login."""
        return f"http://{self.tokens[token].login}:{token}@127.0.0.1:{self.port}/{self.path}.git"

    def start(self) -> None:
        self.app = self._app()
        self._running = make_server("127.0.0.1", self.port, self.app, threaded=True)
        self._running.socket.settimeout(1.0)  # a caller that is gone before it is taken in: nobody waits for the next
        self.port = self._running.server_port
        serve = threading.Thread(target=self._running.serve_forever, args=(0.02,))
        self._threads = [serve, threading.Thread(target=self._deliver)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        if self._running is None:
            return
        self._running.shutdown()
        self._waiting.put(None)
        for thread in self._threads:
            thread.join()
        self._running.server_close()
        self._running = None

    def _app(self) -> Flask:
        app = Flask(self.kind)
        app.before_request(self._admitted)
        app.register_error_handler(Refused, self._refused)
        app.add_url_rule(f"/{self.path}.git/<path:inner>", "git", self._git, methods=["GET", "POST"])
        self.routes(app)
        return app

    def _admitted(self) -> Response | None:
        if not request.path.startswith(self.api):
            return None
        self.calls.append(f"{request.method} {request.path}")
        if self.spoiled:
            code, body, headers = self.spoiled
            return Response(body, code, dict(headers))
        if self.limited:
            answer = self.error(429, "slow down")
            answer.headers["Retry-After"] = "17"
            return answer
        token = self.tokens.get(self.caller())
        if token is None:
            return self.error(401, "401 Unauthorized")
        request.environ["login"], request.environ["scopes"] = token.login, token.scopes
        return None

    def _refused(self, refused: Refused) -> Response:
        return self.error(*self.refusals.get(refused.reason, (422, refused.reason)))

    def _git(self, inner: str) -> Response:
        """Smart HTTP, by git's own program."""
        sent = request.get_data()  # first of all: a connection closed on unread bytes is reset, and its answer lost
        token = self.tokens.get(request.authorization.password or "") if request.authorization else None
        if token is None:
            return Response("", 401, {"WWW-Authenticate": 'Basic realm="git"'})
        pushes = "receive-pack" in (inner + request.query_string.decode())
        if not self.may(token.login, "write" if pushes else "read"):
            return Response("you are not allowed to push code to this project", 403)
        done = subprocess.run(["git", "http-backend"], input=sent, capture_output=True, env={
            "PATH": os.environ["PATH"], "GIT_PROJECT_ROOT": str(self.bare), "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": f"/{inner}", "REMOTE_USER": token.login, "REQUEST_METHOD": request.method,
            "QUERY_STRING": request.query_string.decode(), "CONTENT_TYPE": request.content_type or "",
            "HTTP_CONTENT_ENCODING": request.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": request.headers.get("Git-Protocol", ""),
        })  # fmt: skip
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        fields = dict(re.findall(r"^([\w-]+): (.*?)\r?$", head.decode(), re.MULTILINE))
        if pushes:
            self.notice(token.login)
        return Response(content, int(fields.pop("Status", "200").split()[0]), fields)


AnyServer = TypeVar("AnyServer", bound=Server)


@contextmanager
def serving(forge: AnyServer) -> Iterator[AnyServer]:
    """A running forge on a free port."""
    forge.start()
    try:
        yield forge
    finally:
        forge.stop()
