"""A service of the box with a certificate: `python -m tests.control.tls_service HOME PORT CERTIFICATE`. It answers with
the scheme it was asked by and the size of the body."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from appliance.config import Home
from appliance.door import Service, listen
from appliance.tls import ServedFiles, ServerTls
from control.gathering import GatheringWorker

THREADS = 2


def answer(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
    """A WSGI application."""
    words = f"{environ['wsgi.url_scheme']} {len(environ['wsgi.input'].read())}\n".encode()
    head = [("Content-Type", "text/plain"), ("Content-Length", str(len(words))), ("X-Process", str(os.getpid()))]
    start("200 OK", head)
    return [words]


def introduce(worker: Any) -> None:
    """As the console does."""
    worker.tls = ServerTls(ServedFiles(Path(sys.argv[3]), Path(sys.argv[3])))
    worker.most, worker.note, worker.look = (lambda _head: 1 << 22), (lambda _came, _why: None), (lambda: None)


def main(folder: str, port: str, _certificate: str) -> int:
    """Serve until SIGTERM."""
    options = {
        "worker_class": GatheringWorker, "threads": THREADS, "keepalive": 5, "post_worker_init": introduce,
    }  # fmt: skip
    door = listen("console", "127.0.0.1", int(port))
    return Service("tls", Home(Path(folder)), [door], lambda: answer, options).run()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
