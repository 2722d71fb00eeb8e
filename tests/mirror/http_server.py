"""A git server over http: the standard library's server before git's own `http-backend`."""

from __future__ import annotations

import base64
import http.server
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

S = TypeVar("S", bound="GitServer")
LOGIN = ("bot", "s3cret/word")
CGI = ("REQUEST_METHOD", "QUERY_STRING", "CONTENT_TYPE", "CONTENT_LENGTH", "PATH_INFO", "REMOTE_USER")


class GitServer(http.server.ThreadingHTTPServer):
    """Serves the bare repositories of a folder. `login` asks for a name and password; `hang` stops all answers."""

    daemon_threads = True

    def __init__(self, root: Path) -> None:
        super().__init__(("127.0.0.1", 0), self.handler())
        self.root = root
        self.login: tuple[str, str] | None = None
        self.hang = threading.Event()
        self.asked = threading.Event()
        self.resume = threading.Event()

    def handler(self) -> type[Handler]:
        return Handler

    def url(self, name: str, login: str = "") -> str:
        return f"http://{login}127.0.0.1:{self.server_port}/{name}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: GitServer

    def do_GET(self) -> None:
        self.answer(b"")

    def do_POST(self) -> None:
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.answer(body)

    def answer(self, body: bytes) -> None:
        self.server.asked.set()
        if self.server.hang.is_set():
            self.server.resume.wait(60)
            return
        if self.server.login and not self.admitted(self.server.login):
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="git"')
            self.end_headers()
            return
        path, _, query = self.path.partition("?")
        done = subprocess.run(
            ["git", "http-backend"],
            input=body,
            capture_output=True,
            env={
                "PATH": os.environ["PATH"], "GIT_PROJECT_ROOT": str(self.server.root), "GIT_HTTP_EXPORT_ALL": "1",
                "REQUEST_METHOD": self.command, "QUERY_STRING": query, "PATH_INFO": path, "REMOTE_USER": "bot",
                "CONTENT_TYPE": self.headers.get("Content-Type", ""), "CONTENT_LENGTH": str(len(body)),
                "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
                "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            },
        )  # fmt: skip
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if line)
        self.send_response(int(fields.pop("Status", "200").split()[0]))
        for name, value in fields.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def admitted(self, login: tuple[str, str]) -> bool:
        wanted = base64.b64encode(":".join(login).encode()).decode()
        return self.headers.get("Authorization") == f"Basic {wanted}"

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def running(server: S) -> Iterator[S]:
    """A server that answers until the end."""
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server
    finally:
        server.resume.set()
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def serving(root: Path) -> Iterator[GitServer]:
    """A running server on a free port."""
    with running(GitServer(root)) as server:
        yield server
