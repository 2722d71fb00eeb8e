"""HTTP servers of a test's own on this machine: any, and one that stands for a model."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Said = tuple[str, int, int]
"""An answer's text, and the tokens of its prompt and its own."""


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256


@contextmanager
def http_serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """Its address, while it answers as the handler does."""
    server = Server(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def model_serving(name: str, answer: Callable[[Mapping[str, Any]], Said]) -> Iterator[str]:
    """The address of an OpenAI-compatible server of one model, while it answers chats so."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            self.send({"object": "list", "data": [{"id": name, "object": "model"}]})

        def do_POST(self) -> None:
            said, prompt, own = answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send({
                "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": name,
                "choices": [{"index": 0, "message": {"role": "assistant", "content": said}, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": prompt, "completion_tokens": own, "total_tokens": prompt + own},
            })  # fmt: skip

        def send(self, body: object) -> None:
            raw = json.dumps(body).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with http_serving(Handler) as url:
        yield url
