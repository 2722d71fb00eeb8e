"""Bodies of calls made up at random, from nearly right to no JSON at all, and what every one of them is owed."""

from __future__ import annotations

import json
from typing import Any

import httpx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inference.gateway.doors import COUNT
from tests.inference.gateway_process import CODER, EMBEDDER, Gateway
from tests.inference.mock_engine import Behaviour, Exchange, answer, delta, say, talk, whole_answer
from tests.inference.test_doors import JUNK, WHOLE, places, spoilt, without

RANKER = "ranker"
MODELS = {"/v1/embeddings": EMBEDDER, "/v1/rerank": RANKER}
DOORS: dict[str, dict[str, Any]] = {
    **{door: {**body, "model": MODELS.get(door, CODER)} for door, body in WHOLE.items()},
    COUNT: {**WHOLE["/v1/messages"], "model": CODER},
    "/v1/route": {"task": "chat", "model": CODER, "prompt_tokens": 5, "needs": ["tools"], "severity": 2, "load": 1},
}
CALL = '{"name": "f", "arguments": {}}'
WORDS = st.text(max_size=8) | st.sampled_from(
    [
        "auto",
        "text",
        "user",
        "tool",
        "system",
        "function",
        "required",
        "json_schema",
        "image_url",
        CODER,
        "\ud800",
        "a" * 9000,
    ]
)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | WORDS | st.sampled_from([2**64, -(2**70), 1e308])
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=4), max_leaves=12
)
ENDS = ("data: [DONE]", "event: message_stop", "event: response.completed")
"""How the streams of an engine that does what it is asked for end."""
NO_JSON = st.sampled_from(
    [b"", b"{", b"[]", b"null", b'{"model":', b"\xff\xfe{}", b'{"a": NaN}', b"[" * 100_000,
     b'{"a":' * 5000 + b"1" + b"}" * 5000, b'{"model": "x", "model": 7}',
     b'{"messages": [{"role": "user", "content": "\\ud800"}]}'],
) | st.binary(max_size=40)  # fmt: skip


@st.composite
def calls(draw: st.DrawFn) -> tuple[str, bytes]:
    """A door and a body for it."""
    door = draw(st.sampled_from(sorted(DOORS)))
    if draw(st.integers(0, 9)) == 0:
        return door, draw(NO_JSON)
    body: Any = DOORS[door]
    if draw(st.integers(0, 9)) == 0:
        body = draw(st.dictionaries(st.sampled_from(sorted(body)) | WORDS, VALUES, max_size=6))
    for _ in range(draw(st.integers(0, 3))):
        ways = list(places(body))
        if not ways:
            break
        way = draw(st.sampled_from(ways))
        body = spoilt(body, way, draw(st.sampled_from(JUNK) | VALUES)) if draw(st.booleans()) else without(body, way)
    return door, json.dumps(body).encode()


def obedient(exchange: Exchange) -> None:
    """An engine that says a call where a form is demanded, and talks otherwise."""
    behave: Behaviour = talk()
    if "response_format" in exchange.body:
        chunks = (delta(role="assistant"), delta(content=CALL), delta("stop"))
        behave = say(*chunks) if exchange.body.get("stream") else answer(whole_answer(CALL))
    behave(exchange)


def look(gateway: Gateway, examples: int) -> dict[int, int]:
    """Send so many; how many were answered with each status. Fails on a 5xx, a hang, or a shape that is none."""
    seen: dict[int, int] = {}

    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(calls())
    def one(call: tuple[str, bytes]) -> None:
        door, body = call
        response = gateway.http.post(door, content=body, headers={"Content-Type": "application/json"})
        seen[response.status_code] = seen.get(response.status_code, 0) + 1
        check(response, door)

    one()
    return seen


def check(response: httpx.Response, door: str) -> None:
    assert response.status_code < 500, f"{door}: {response.text[:500]}"
    if response.headers["content-type"].startswith("text/event-stream"):
        last = response.text.rstrip().split("\n\n")[-1]
        assert last.startswith(ENDS), f"{door}: {last}"
    elif response.status_code >= 400:
        error = response.json()["error"]
        assert error["message"] and error["type"], response.text[:500]
