"""A small server that speaks as vLLM does as far as sleep goes, and says in a file what it has of a GPU.

`python sleepy_server.py PORT MODEL GPU_FILE FULL SMALL`: the file holds its pid and FULL or SMALL bytes. Asleep it
takes calls and answers them once it is awake, as vLLM does. Files beside that one make it fail: `refuse-sleep` (it
answers 500), `die-waking`, `hold` (no answer while it is there). Standard library only.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PORT, MODEL, GPU_FILE = int(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
FULL, SMALL = sys.argv[4:6]
KEY = "Bearer " + os.environ["VLLM_API_KEY"]
awake = threading.Event()
lock = threading.Lock()
running = 0


def take(size: str) -> None:
    new = GPU_FILE.with_name(f".{GPU_FILE.name}")
    new.write_text(f"{os.getpid()} {size}")
    new.replace(GPU_FILE)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        match self.path:
            case _ if self.headers.get("Authorization") != KEY:
                self.send(401, {})
            case "/is_sleeping":
                self.send(200, {"is_sleeping": not awake.is_set()})
            case "/metrics":
                self.send(200, f'vllm:num_requests_running{{model_name="{MODEL}"}} {float(running)}\n')
            case _:
                self.send(200, "")

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
        match self.path:
            case _ if self.headers.get("Authorization") != KEY:
                self.send(401, {})
            case "/sleep?level=1&mode=wait" if GPU_FILE.with_name("refuse-sleep").exists():
                self.send(500, {"error": {"message": "no"}})
            case "/sleep?level=1&mode=wait":
                awake.clear()
                take(SMALL)
                self.send(200, {"status": "sleeping", "level": 1})
            case "/wake_up" if GPU_FILE.with_name("die-waking").exists():
                os._exit(3)
            case "/wake_up":
                take(FULL)
                awake.set()
                self.send(200, {"status": "awake", "tags": None})
            case _:
                self.talk(body)

    def talk(self, body: dict[str, object]) -> None:
        global running
        with lock:
            running += 1
        awake.wait()
        while GPU_FILE.with_name("hold").exists():
            time.sleep(0.05)
        with lock:
            running -= 1
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        said = {"message": {"role": "assistant", "content": "Hello"}, "text": "Hello"}
        choice = {"index": 0, "finish_reason": "stop", **said}
        self.send(200, {"id": "1", "created": 1, "model": body.get("model"), "choices": [choice], "usage": usage})

    def send(self, status: int, body: object) -> None:
        raw = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, format: str, *args: object) -> None:
        pass


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", PORT), Handler)
    take(FULL)
    awake.set()
    server.serve_forever()
