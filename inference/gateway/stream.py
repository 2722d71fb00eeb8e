"""Answers, whole or in chunks, put into the exact shape that clients rely on. Pure.

Engines differ in small things that break clients: null instead of absent, missing indices, usage in the wrong chunk,
`stop` after a tool call, a name that is a file path. One stream has one shaper, which remembers what was said already.
A shaped chunk is the gateway's inner word; a `Voice` says it in the API that the client speaks.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Protocol

import orjson

from inference.gateway.demand import call_in
from inference.gateway.faults import ApiError

CHUNK_KEYS = ("id", "object", "created", "system_fingerprint")
GENERATED = ("content", "reasoning_content", "reasoning", "tool_calls")
"""Parts of a delta that a model wrote."""
DONE = b"data: [DONE]\n\n"
UNREADABLE = (ValueError, KeyError, IndexError, TypeError, AttributeError)
"""What shaping raises when an engine's answer is not made as answers are."""


class Broken(Exception):
    """The engine reported an error inside a stream."""

    def __init__(self, body: Any) -> None:
        super().__init__(str(body))
        self.body = body


class Events:
    """Cuts a byte stream into the `data` payloads of server-sent events, wherever the bytes were split."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Payloads completed by `data`. Comments and other fields are passed over."""
        found = []
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        for line in lines:
            if line.startswith(b"data:"):
                found.append(line[5:].strip())
            elif line.startswith(b"error:"):
                # Older llama-servers name the field `error` when something goes wrong in mid-stream.
                found.append(b'{"error":' + line[6:].strip() + b"}")
        return found


def event(value: Any) -> bytes:
    """One server-sent event."""
    return b"data: " + orjson.dumps(value) + b"\n\n"


class Voice(Protocol):
    """How one stream sounds in one API. Each method returns the bytes to send, which may be none."""

    def begin(self) -> bytes:
        """Before anything is known but the model."""
        ...

    def say(self, chunk: dict[str, Any]) -> bytes:
        """A shaped chunk."""
        ...

    def end(self, usage: Mapping[str, Any]) -> bytes:
        """The answer is whole."""
        ...

    def fail(self, failure: ApiError) -> bytes:
        """The answer broke off."""
        ...


class ChatVoice:
    """Chat and text completions: the chunks as they are."""

    def __init__(self, include_usage: bool = False, told: Mapping[str, Any] = MappingProxyType({})) -> None:
        """`told` stands in every chunk."""
        self._include_usage = include_usage
        self._told = told
        self._head: dict[str, Any] = {}

    def begin(self) -> bytes:
        return b""

    def say(self, chunk: dict[str, Any]) -> bytes:
        chunk.update(self._told)
        if not self._head:
            self._head = {key: value for key, value in chunk.items() if key != "choices"}
        return event(chunk)

    def end(self, usage: Mapping[str, Any]) -> bytes:
        if self._include_usage and usage:
            return event({**self._head, "choices": [], "usage": usage}) + DONE
        return DONE

    def fail(self, failure: ApiError) -> bytes:
        return event(failure.body())


class Shaper:
    """Shapes the chunks of one stream of a chat or text completion."""

    def __init__(self, model: str, must_call: bool = False) -> None:
        self.model = model
        self.must_call = must_call
        self.usage: dict[str, Any] = {}
        self.finished = False
        """A finish reason was seen, so an end of the stream is a real end."""
        self.generated = 0
        """Pieces with something in them: as good as tokens while the engine has not counted them."""
        self._head: dict[str, Any] = {}
        self._calls: dict[int, set[int]] = {}
        self._demanded: dict[int, str] = {}

    def shape(self, payload: bytes) -> dict[str, Any] | None:
        """One chunk; None when the client must not see it. Raises Broken for an error in the stream."""
        chunk = orjson.loads(payload)
        if "error" in chunk and "choices" not in chunk:
            raise Broken(chunk)
        if chunk.get("usage"):
            self.usage = chunk["usage"]
        choices = chunk.get("choices")
        if not choices:
            return None
        if not self._head:
            self._head = {key: chunk[key] for key in CHUNK_KEYS if chunk.get(key) is not None} | {"model": self.model}
        for n, choice in enumerate(choices):
            choice.setdefault("index", n)
            self._shape_choice(choice)
        if self.must_call and not any(choice.get("delta") or choice.get("finish_reason") for choice in choices):
            return None
        return {**self._head, "choices": choices}

    def _shape_choice(self, choice: dict[str, Any]) -> None:
        index = choice["index"]
        delta = choice.get("delta")
        if choice.get("text") or (isinstance(delta, dict) and any(delta.get(part) for part in GENERATED)):
            self.generated += 1
        if isinstance(delta, dict):
            both_reasonings(delta)
            if self.must_call:
                self._keep_call(index, delta, choice.get("finish_reason"))
            if not delta.get("tool_calls"):
                delta.pop("tool_calls", None)
            else:
                known = self._calls.setdefault(index, set())
                delta["tool_calls"] = [
                    _call_delta(call, n, known, self._head) for n, call in enumerate(delta["tool_calls"])
                ]
        reason = choice.get("finish_reason")
        if reason:
            self.finished = True
            choice["finish_reason"] = finish_reason(reason, bool(self._calls.get(index)))

    def _keep_call(self, index: int, delta: dict[str, Any], reason: str | None) -> None:
        """Keep the text of a demanded call back until it is whole."""
        kept = self._demanded.get(index, "") + (delta.pop("content", None) or "")
        self._demanded[index] = kept
        if reason:
            delta["tool_calls"] = demanded_calls(kept, call_id(self._head, index), reason)


def demanded_calls(said: str, id: str, reason: str) -> list[dict[str, Any]]:
    """The call that an answer had to be; none when it was cut off.

    Raises:
        ValueError: it came to its end and is no call: the engine paid no heed to the schema.
    """
    call = call_in(said, id)
    if call is None and reason == "stop":
        raise ValueError(f"a tool call was demanded, and the engine wrote {said[:100]!r}")
    return [call] if call else []


def call_id(head: dict[str, Any], n: int) -> str:
    """An id for a call whose engine gave none: no other answer has it."""
    return f"call_{head.get('id', '')}_{n}"


def _call_delta(call: dict[str, Any], n: int, known: set[int], head: dict[str, Any]) -> dict[str, Any]:
    """A piece of a tool call: always its index; id, type and name in the first piece only and never null."""
    index = call.get("index")
    index = n if index is None else index
    function = {key: value for key, value in (call.get("function") or {}).items() if value is not None}
    if index in known:
        return {"index": index, "function": {key: value for key, value in function.items() if key != "name"}}
    known.add(index)
    function.setdefault("arguments", "")
    return {"index": index, "id": call.get("id") or call_id(head, index), "type": "function", "function": function}


def finish_reason(reason: str, called: bool) -> str:
    """`tool_calls` after tool calls, unless the answer was cut off: then the cut is the news."""
    return "tool_calls" if called and reason == "stop" else reason


def both_reasonings(message: dict[str, Any]) -> None:
    """Some clients read `reasoning_content`, others `reasoning`: give both when there is one."""
    thought = message.get("reasoning_content") or message.get("reasoning")
    message.pop("reasoning_content", None)
    message.pop("reasoning", None)
    if thought:
        message["reasoning_content"] = message["reasoning"] = thought


def shape_answer(answer: dict[str, Any], model: str, must_call: bool = False) -> dict[str, Any]:
    """A whole answer of a chat or text completion."""
    for n, choice in enumerate(answer.get("choices", [])):
        choice.setdefault("index", n)
        message = choice.get("message")
        if not isinstance(message, dict):
            continue
        both_reasonings(message)
        message.setdefault("content", None)
        if must_call:
            said, reason = message.get("content") or "", choice.get("finish_reason") or "stop"
            message |= {"content": None, "tool_calls": demanded_calls(said, call_id(answer, n), reason)}
        if not message.get("tool_calls"):
            message.pop("tool_calls", None)
        for position, call in enumerate(message.get("tool_calls", [])):
            call.pop("index", None)
            call |= {"id": call.get("id") or call_id(answer, position), "type": "function"}
        choice["finish_reason"] = finish_reason(choice.get("finish_reason") or "stop", "tool_calls" in message)
    made = {key: answer[key] for key in (*CHUNK_KEYS, "choices", "usage") if answer.get(key) is not None}
    return made | {"model": model}
