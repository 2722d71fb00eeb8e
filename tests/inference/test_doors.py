"""Every door with every field spoilt: what comes in is understood, or refused with a reason; nothing else ever happens.

Engines that answer oddly are met the same way, by every voice.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import orjson
import pytest

from inference.gateway.doors import COUNT, DOORS, Visitor, failure_body, rate_headers
from inference.gateway.faults import ApiError
from inference.gateway.kept import Kept
from inference.gateway.stream import UNREADABLE, Broken, Shaper
from inference.limits import Left, Priority
from tests.inference.mock_engine import USAGE, delta, whole_answer

TOOL = {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}
WHOLE: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {
        "model": "m", "max_tokens": 5, "stream": True, "stream_options": {"include_usage": True}, "stop": ["x"],
        "messages": [
            {"role": "developer", "content": "d"}, {"role": "user", "content": [{"type": "text", "text": "t"}]},
            {"role": "assistant", "content": None, "tool_calls": [
                {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": "c", "content": "r"},
        ],
        "tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "f"}}, "metadata": {"task": "chat"},
    },
    "/v1/completions": {"model": "m", "prompt": ["a"], "max_tokens": 3, "stream": False},
    "/v1/embeddings": {"model": "m", "input": ["a", "b"], "encoding_format": "base64", "dimensions": 3},
    "/v1/rerank": {"model": "m", "query": "q", "documents": ["a", {"text": "b"}], "top_n": 1, "metadata": {}},
    "/v1/messages": {
        "model": "m", "max_tokens": 5, "system": [{"type": "text", "text": "s"}], "stop_sequences": ["x"],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "t"}]},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "h", "signature": ""},
                {"type": "tool_use", "id": "c", "name": "f", "input": {"a": 1}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "is_error": True,
                                          "content": [{"type": "text", "text": "r"}]}]},
            {"role": "user", "content": [{"type": "document", "source": {"type": "text", "data": "d"}}]},
        ],
        "tools": [{"name": "f", "description": "d", "input_schema": {"type": "object"}}, {"type": "web_search_1"}],
        "tool_choice": {"type": "tool", "name": "f", "disable_parallel_tool_use": True}, "stream": True,
        "thinking": {"type": "enabled"}, "output_config": {"format": {"type": "json_schema", "schema": {"type": "x"}}},
        "metadata": {"user_id": "u"},
    },
    "/v1/responses": {
        "model": "m", "instructions": "i", "max_output_tokens": 5, "stream": True, "previous_response_id": None,
        "input": [
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "t"}]},
            {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "h"}]},
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_text", "text": "r"}]},
            {"type": "custom_tool_call", "call_id": "k", "name": "p", "input": "x"},
            {"type": "custom_tool_call_output", "call_id": "k", "output": "done"},
        ],
        "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}},
                  {"type": "custom", "name": "p", "format": {"type": "grammar", "definition": "g"}}],
        "tool_choice": {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "f"}]},
        "text": {"format": {"type": "json_schema", "name": "x", "schema": {"type": "object"}}},
        "reasoning": {"effort": "none"}, "truncation": "auto", "store": True, "metadata": {"task": "chat"},
    },
}  # fmt: skip
"""A call of each door that uses all that the door looks at."""
JUNK: tuple[Any, ...] = (
    None, True, False, 0, -1, 3, 1.5, 2**63, "", "x", "auto", "text", [], {}, [None], [3], [[]], [{}], ["x"],
    {"type": {}}, {"type": []}, {"type": "x"}, [{"type": {}}], [{"role": []}],
)  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to each part of a JSON value, the whole left out."""
    if path:
        yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inner:
        yield from places(part, (*path, key))


def spoilt(value: Any, path: tuple[Any, ...], junk: Any) -> Any:
    made = copy.deepcopy(value)
    part = made
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = junk
    return made


def without(value: Any, path: tuple[Any, ...]) -> Any:
    made = copy.deepcopy(value)
    part = made
    for key in path[:-1]:
        part = part[key]
    del part[path[-1]]
    return made


def enter(door: str, body: dict[str, Any]) -> None:
    """Through the door and, when it lets one in, on to an engine's body and to every kind of answer."""
    try:
        speech = DOORS[door].enter(body, Visitor("ann", Kept(4)))
    except ApiError as error:
        assert error.status == 400 and error.message
        assert orjson.dumps(failure_body(door, error, "r"))
        return
    assert orjson.loads(speech.prepared.for_model("m"))["model"] == "m"
    said = '{"name": "f", "arguments": {}}' if speech.prepared.must_call else "Hello there"
    made = ANSWERS.get(speech.prepared.path, lambda: whole_answer(said))()
    assert orjson.dumps(speech.whole(made, "m", Priority.BATCH))
    voice = speech.voice("m", Priority.BATCH)
    assert isinstance(voice.begin() + voice.end({}), bytes)


ANSWERS: dict[str, Any] = {
    "/v1/embeddings": lambda: {"data": [{"embedding": [1.0, 2.0, 3.0]}], "usage": USAGE},
    "/v1/rerank": lambda: {"results": [{"index": 0, "relevance_score": 1.0}]},
    "/v1/completions": lambda: {"choices": [{"index": 0, "text": "a", "finish_reason": "stop"}]},
}


@pytest.mark.parametrize("door", DOORS)
def test_a_whole_call_is_let_in(door: str) -> None:
    body = WHOLE[door] if door != "/v1/embeddings" else {**WHOLE[door], "dimensions": 3}
    DOORS[door].enter(body, Visitor("ann", Kept(4)))
    enter(door, body)


@pytest.mark.parametrize("door", DOORS)
def test_a_call_with_any_one_part_spoilt_or_missing_is_understood_or_refused(door: str) -> None:
    for path in places(WHOLE[door]):
        enter(door, without(WHOLE[door], path))
        for junk in JUNK:
            if path[0] != "dimensions":  # which the engine's answer decides about
                enter(door, spoilt(WHOLE[door], path, junk))


@pytest.mark.parametrize("door", DOORS)
def test_a_call_with_several_parts_spoilt_is_understood_or_refused(door: str) -> None:
    chance = random.Random(7)
    for _ in range(1500):
        body = WHOLE[door]
        for _ in range(chance.randint(2, 4)):
            body = spoilt(body, chance.choice(list(places(body)) or [("model",)]), chance.choice(JUNK))
        if body.get("dimensions") == 3 or "dimensions" not in body:
            enter(door, body)


@pytest.mark.parametrize("door", [door for door in DOORS if "stream" in WHOLE[door]])
def test_a_chunk_with_any_part_spoilt_is_said_or_raised_as_broken_by_every_voice(door: str) -> None:
    calls = [{"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    good = delta("stop", content="a", reasoning_content="h", tool_calls=calls) | {"usage": USAGE}
    speech = DOORS[door].enter(WHOLE[door], Visitor("ann", Kept(4)))
    for path in places(good):
        for junk in JUNK:
            shaper, voice = Shaper("m"), speech.voice("m", Priority.BATCH)
            try:
                chunk = shaper.shape(orjson.dumps(spoilt(good, path, junk)))
                said = voice.begin() + (voice.say(chunk) if chunk else b"") + voice.end(shaper.usage)
            except (*UNREADABLE, Broken):
                continue
            assert said


@pytest.mark.parametrize("door", [door for door in DOORS if "stream" in WHOLE[door]])
def test_a_whole_answer_with_any_part_spoilt_is_said_or_raised_as_unreadable(door: str) -> None:
    calls = [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    good = whole_answer("a", reasoning_content="h", tool_calls=calls)
    speech = DOORS[door].enter(WHOLE[door], Visitor("ann", Kept(4)))
    for path in places(good):
        for junk in JUNK:
            with suppress(*UNREADABLE):
                assert orjson.dumps(speech.whole(spoilt(good, path, junk), "m", Priority.BATCH))


@pytest.mark.parametrize(("path", "key"), [("/v1/messages", "type"), (COUNT, "type"), ("/v1/responses", "error")])
def test_each_door_says_failures_in_its_own_shape(path: str, key: str) -> None:
    assert key in failure_body(path, ApiError(400, "no", "x"), "r")


def test_each_door_tells_what_is_left_in_its_own_headers() -> None:
    rates = (Left("requests", 5, 4, 58.0), Left("tokens", 100, 70, 57.5))
    assert dict(rate_headers("/v1/chat/completions", rates, 1e9)) == {
        "x-ratelimit-limit-requests": "5", "x-ratelimit-remaining-requests": "4",
        "x-ratelimit-reset-requests": "58.000s", "x-ratelimit-limit-tokens": "100",
        "x-ratelimit-remaining-tokens": "70", "x-ratelimit-reset-tokens": "57.500s",
    }  # fmt: skip
    assert dict(rate_headers(COUNT, rates, 1e9)) == {
        "anthropic-ratelimit-requests-limit": "5", "anthropic-ratelimit-requests-remaining": "4",
        "anthropic-ratelimit-requests-reset": "2001-09-09T01:47:38Z", "anthropic-ratelimit-tokens-limit": "100",
        "anthropic-ratelimit-tokens-remaining": "70", "anthropic-ratelimit-tokens-reset": "2001-09-09T01:47:38Z",
    }  # fmt: skip
