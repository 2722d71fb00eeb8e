"""A model that answers every trial of admission well, behind a real HTTP server; any answer can be made worse."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.http_serving import http_serving

CONTEXT = 2048
BREAD = (
    "Bread is among the oldest foods that people prepared. Flat cakes of crushed grain were baked on hot stones long "
    "before there were fields. In Egypt someone let the dough stand, and it rose. Greek bakers knew dozens of shapes. "
    "Roman towns had mills turned by donkeys. Medieval guilds set the weight of a loaf by law. White flour was for the "
    "rich until roller mills came. Yeast could soon be bought in tins. Slicing machines changed the kitchen in 1928. "
    "Today many bakers return to slow sourdough."
)
ANSWERS = {
    "capital of France": "Paris is the capital of France.",
    "sentence about rain": "Rain falls softly on the old roofs.",
    "Count from 1 to 20": "4, 5, 6, 7, 8, ",
    "Say hello": "Hello!",
    "history of bread": BREAD,
    "bug in a web shop": '{"title": "Totals are wrong", "severity": 2, "kind": "bug"}',
    "three files": '{"files": ["pyproject.toml", "a.py"]}',
    "17 a prime": '{"prime": true, "number": 17}',
    "secret word": "marmalade",
    "exactly 50 pays": "shop/price.py\n<<<<<<< SEARCH\n    if total > 50:\n=======\n    if total >= 50:\n"
    ">>>>>>> REPLACE",
    "raises the price": "shop/price.py::discounted\n```python\ndef discounted(price, percent):\n"
    "    return price - price * percent / 100\n```",
    "left out of its total": "shop/price.py\n<<<<<<< SEARCH\n    for n in range(len(lines) - 1):\n=======\n"
    "    for n in range(len(lines)):\n>>>>>>> REPLACE",
    "Which colour": "Red.",
    "shipping(50) must be 0": "The bound is right now.\nVERDICT: PASS",
    "must be 90, not 110": "It deletes all orders.\nVERDICT: FAIL",
}
"""A piece of the question → the answer."""
CALL = {
    "id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Lisbon"}'},
}  # fmt: skip


@dataclass
class Scripted:
    """The server; `answers` are changed by tests, `broken` paths answer with a status, `deaf` ones hang up."""

    url: str = ""
    answers: dict[str, str] = field(default_factory=lambda: dict(ANSWERS))
    calls: list[dict[str, Any]] = field(default_factory=lambda: [CALL])
    finish: str = "stop"
    broken: Callable[[dict[str, Any]], int] = lambda body: 0
    deaf: Callable[[dict[str, Any]], bool] = lambda body: False
    done: bool = True
    asked: list[dict[str, Any]] = field(default_factory=list)

    def message(self, body: dict[str, Any]) -> dict[str, Any]:
        if body.get("tools") and body["messages"][-1]["role"] == "user":
            return {"role": "assistant", "content": None, "tool_calls": self.calls}
        if body["messages"][-1]["role"] == "tool":
            return {"role": "assistant", "content": self.answers.get("tool", "It is 21 degrees in Lisbon.")}
        question = str(body["messages"][-1]["content"])
        found = next((text for piece, text in self.answers.items() if piece in question), "I do not know.")
        return {"role": "assistant", "content": found}


@contextmanager
def scripted_model() -> Iterator[Scripted]:
    """It runs until the block ends."""
    model = Scripted()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            self._send(200, json.dumps({"data": [{"id": "upstream", "max_model_len": CONTEXT}]}).encode())

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            model.asked.append({"path": self.path, "key": self.headers["Authorization"], **body})
            if model.deaf(body):
                self.close_connection = True
            elif status := model.broken(body):
                self._send(status, b'{"error": {"message": "no"}}')
            elif "input" in body:
                rows = [{"index": n, "embedding": _vector(text)} for n, text in enumerate(body["input"])]
                self._send(200, json.dumps({"data": rows[::-1]}).encode())
            elif "documents" in body:
                rows = [{"index": n, "relevance_score": float("return" in d)} for n, d in enumerate(body["documents"])]
                self._send(200, json.dumps({"results": rows}).encode())
            else:
                self._chat(body)

        def _chat(self, body: dict[str, Any]) -> None:
            message = model.message(body)
            prompt = sum(len(re.findall(r"\w+|[^\w\s]", str(one.get("content")))) for one in body["messages"])
            usage = {"prompt_tokens": prompt + 7, "completion_tokens": len((message["content"] or "").split()) + 1}
            if prompt + 7 + body["max_tokens"] > CONTEXT:
                self._send(400, b'{"error": {"message": "too long", "code": "context_length_exceeded"}}')
                return
            if not body.get("stream"):
                choice = {"index": 0, "message": message, "finish_reason": model.finish}
                self._send(200, json.dumps({"choices": [choice], "usage": usage}).encode())
                return
            self.send_response(200)
            self.end_headers()
            for word in re.findall(r"\S+\s*", message["content"]):
                self._event({"choices": [{"index": 0, "delta": {"content": word}}]})
            self._event({"choices": [{"index": 0, "delta": {}, "finish_reason": model.finish}]})
            self._event({"choices": [], "usage": usage})
            if model.done:
                self.wfile.write(b"data: [DONE]\n\n")
            self.close_connection = True

        def _event(self, event: dict[str, Any]) -> None:
            self.wfile.write(f"data: {json.dumps(event)}\n\n".encode())

        def _send(self, status: int, raw: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with http_serving(Handler) as model.url:
        yield model


def _vector(text: str) -> list[float]:
    return [1.0, float("wrong" in text or "not correct" in text), float("Penguins" in text)]
