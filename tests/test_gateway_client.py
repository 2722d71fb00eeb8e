"""The line's client: patience, errors as the line knows them, vectors of unit length."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import datetime
from http.server import BaseHTTPRequestHandler
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import LimitExceeded, NotFound, PolicyRefused, Unavailable, UsageError
from appliance.gateway_client import MAX_PIECES, GatewayModel, pieces
from appliance.ports import Model, SystemClock
from tests.http_serving import http_serving


class Stepped(SystemClock):
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.passed = 0.0

    def now(self) -> datetime:
        raise AssertionError("nobody asks for the date")

    def monotonic(self) -> float:
        return self.passed

    def sleep(self, seconds: float) -> None:
        self.passed += seconds


class Door:
    """A scripted gateway: (status, body, headers) per call, the last one stays."""

    def __init__(self) -> None:
        self.script: list[tuple[int, Any, dict[str, str]]] = []
        self.asked: list[tuple[str, str, Any]] = []
        self.url = ""

    def take(self) -> tuple[int, Any, dict[str, str]]:
        return self.script.pop(0) if len(self.script) > 1 else self.script[0]


@pytest.fixture(scope="module")
def door() -> Iterator[Door]:
    made = Door()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = orjson.loads(self.rfile.read(int(self.headers["Content-Length"])))
            made.asked.append((self.path, self.headers["Authorization"], body))
            status, reply, headers = made.take()
            self._send(status, reply(body) if callable(reply) else reply, headers)

        def do_GET(self) -> None:
            made.asked.append((self.path, self.headers["Authorization"], None))
            self._send(200, {"id": "m", "sha256": "cd" * 32}, {})

        def _send(self, status: int, reply: Any, headers: dict[str, str]) -> None:
            raw = orjson.dumps(reply)
            self.send_response(status)
            for name, value in (*headers.items(), ("Content-Length", str(len(raw)))):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with http_serving(Handler) as made.url:
        yield made


@pytest.fixture
def clock() -> Stepped:
    return Stepped()


@pytest.fixture
def model(door: Door, clock: Stepped) -> Iterator[GatewayModel]:
    door.asked.clear()
    made = GatewayModel(door.url, "apl_k", patience_seconds=30, clock=clock)
    yield made
    made.close()


def refusal(status: int, code: str = "x", **headers: str) -> tuple[int, Any, dict[str, str]]:
    return status, {"error": {"message": "no", "type": "t", "param": None, "code": code}}, headers


def embeddings(body: dict[str, Any]) -> dict[str, Any]:
    rows = [{"index": n, "embedding": [float(len(text)), 2.0, 0.0]} for n, text in enumerate(body["input"])]
    return {"data": rows[::-1], "model": "m"}


CHAT = {
    "model": "m", "choices": [{"message": {"content": "Hi"}, "finish_reason": "length"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 1},
}  # fmt: skip


def test_it_is_a_model(model: GatewayModel) -> None:
    port: Model = model
    assert port is model


def test_vectors_come_in_order_and_of_unit_length(model: GatewayModel, door: Door) -> None:
    door.script = [(200, embeddings, {})]
    vectors = model.embed(["a", "bbbb"] * 50)
    assert len(vectors) == 100
    assert all(math.isclose(math.hypot(*vector), 1.0) for vector in vectors)
    assert vectors[0] == pytest.approx([1 / math.sqrt(5), 2 / math.sqrt(5), 0])
    assert vectors[1] == pytest.approx([4 / math.sqrt(20), 2 / math.sqrt(20), 0])
    assert max(len(body["input"]) for _, _, body in door.asked) <= 32
    assert model.embed([]) == []


def test_a_text_too_long_for_the_model_is_embedded_in_pieces(model: GatewayModel, door: Door) -> None:
    def short_only(body: dict[str, Any]) -> dict[str, Any]:
        return embeddings(body)

    door.script = [refusal(400, "context_length_exceeded"), (200, short_only, {})]
    (vector,) = model.embed(["word " * 150])
    assert math.isclose(math.hypot(*vector), 1.0)
    assert len(door.asked[0][2]["input"]) == 1 and len(door.asked[1][2]["input"]) == 2
    door.script = [refusal(400, "context_length_exceeded")]
    with pytest.raises(LimitExceeded):
        model.embed(["x"])


@given(st.text(max_size=300), st.integers(10, 50))
def test_pieces_are_short_few_and_never_none(text: str, limit: int) -> None:
    made = pieces(text, limit)
    assert 1 <= len(made) <= MAX_PIECES and all(0 < len(part) <= limit for part in made)
    if len(text) < limit:
        assert made == [text.strip() or " "]


def test_chat_gives_text_model_digest_and_counts(model: GatewayModel, door: Door) -> None:
    door.script = [(200, CHAT, {})]
    made = model.chat([{"role": "user", "content": "x"}], task="repair", stop=["#"], seed=4, max_tokens=9)
    assert (made.text, made.model, made.digest, made.finish_reason) == ("Hi", "m", "cd" * 6, "length")
    assert (made.prompt_tokens, made.completion_tokens) == (3, 1)
    path, key, body = door.asked[0]
    assert (path, key) == ("/v1/chat/completions", "Bearer apl_k")
    assert body["metadata"] == {"task": "repair"} and body["model"] == "auto"
    assert (body["stop"], body["seed"], body["max_tokens"], body["temperature"]) == (["#"], 4, 9, 0.0)


def test_calls_of_one_piece_of_work_say_what_they_are_for(model: GatewayModel, door: Door) -> None:
    door.script = [(200, CHAT, {})]
    model.about(repo="shop", item="W-1", stage="").chat([{"role": "user", "content": "x"}], task="repair")
    model.chat([{"role": "user", "content": "x"}], task="repair")
    assert [body["metadata"] for _, _, body in door.asked if body] == [
        {"task": "repair", "repo": "shop", "item": "W-1"}, {"task": "repair"},
    ]  # fmt: skip


def test_route_gives_candidates_rule_and_reasons(model: GatewayModel, door: Door) -> None:
    door.script = [(200, {"candidates": ["search", "m"], "rule": "r", "reasons": ["why"], "task": "repair"}, {})]
    made = model.route(
        task="repair", language="python", prompt_tokens=4, stage="build", repo="x", severity=2, attempt=3
    )
    assert (made.candidates, made.rule, made.reasons) == (("search", "m"), "r", ("why",))
    assert door.asked[0][2] == {
        "task": "repair", "stage": "build", "language": "python", "prompt_tokens": 4, "repo": "x", "severity": 2,
        "attempt": 3,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (refusal(404), NotFound), (refusal(401), PolicyRefused), (refusal(403), PolicyRefused),
        (refusal(400), UsageError), (refusal(400, "context_length_exceeded"), LimitExceeded),
        (refusal(413), LimitExceeded), (refusal(500), Unavailable), ((418, "not our shape", {}), UsageError),
    ],
)  # fmt: skip
def test_a_refusal_is_raised_at_once_as_its_kind(
    model: GatewayModel, door: Door, clock: Stepped, answer: Any, kind: type[Exception]
) -> None:
    door.script = [answer]
    with pytest.raises(kind) as caught:
        model.route(task="review")
    assert type(caught.value) is kind and len(door.asked) == 1 and clock.passed == 0


def test_a_busy_gateway_is_asked_again_until_it_answers(model: GatewayModel, door: Door, clock: Stepped) -> None:
    door.script = [refusal(503), refusal(502), refusal(429, **{"Retry-After": "3"}), (200, CHAT, {})]
    assert model.chat([{"role": "user", "content": "x"}], task="chat").text == "Hi"
    assert clock.passed == pytest.approx(0.2 + 0.4 + 3.0)


def test_patience_ends(model: GatewayModel, door: Door, clock: Stepped) -> None:
    door.script = [refusal(503)]
    with pytest.raises(Unavailable, match="the gateway says: no"):
        model.route(task="chat")
    assert 20 < clock.passed <= 30


def test_a_gateway_that_is_not_there_is_unavailable_after_patience(clock: Stepped) -> None:
    model = GatewayModel("http://127.0.0.1:9", "k", patience_seconds=3, clock=clock)
    with pytest.raises(Unavailable, match="does not answer"):
        model.route(task="chat")
    model.close()
    assert 1 < clock.passed <= 3
