"""Answers in the shape of the Messages API: a message of blocks, or the events that build it. Pure.

Its clients pass over events without an `event:` line, expect each block to begin and to stop, and take an empty text
block before a tool call for an answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from inference.gateway.faults import ApiError
from inference.gateway.messages import error_body
from inference.gateway.pieces import Piece, as_chunk, cached_tokens, first_choice, pieces
from inference.limits import Priority

REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}


def named_event(value: Mapping[str, Any]) -> bytes:
    """One server-sent event that says its type in a line of its own."""
    return f"event: {value['type']}\ndata: ".encode() + orjson.dumps(value) + b"\n\n"


def message_of(answer: dict[str, Any], model: str, id: str, priority: Priority) -> dict[str, Any]:
    """A whole shaped answer of a chat completion as a message."""
    chunk = as_chunk(answer)
    content = [_whole_block(piece) for piece in pieces(chunk)]
    usage = usage_of(answer.get("usage") or {}) | tier_of(priority)
    return {**empty_message(model, id), "content": content, **_stopped(first_choice(chunk)), "usage": usage}


def empty_message(model: str, id: str) -> dict[str, Any]:
    """A message of which nothing is known yet."""
    return {
        "id": f"msg_{id}", "type": "message", "role": "assistant", "model": model, "content": [],
        "stop_reason": None, "stop_sequence": None,
    }  # fmt: skip


def usage_of(usage: Mapping[str, Any]) -> dict[str, int]:
    """Token counts as this API has them: what came from the prompt cache is counted apart."""
    cached = cached_tokens(usage)
    return {
        "input_tokens": int(usage.get("prompt_tokens") or 0) - cached, "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": cached, "output_tokens": int(usage.get("completion_tokens") or 0),
    }  # fmt: skip


def tier_of(priority: Priority) -> dict[str, str]:
    """How the call was served, as the usage of a message tells it."""
    return {"service_tier": "batch" if priority is Priority.BATCH else "standard"}


def _stopped(choice: Mapping[str, Any]) -> dict[str, Any]:
    reason = REASONS.get(str(choice.get("finish_reason") or "stop"), "end_turn")
    sequence = choice.get("stop_reason")  # some engines name the stop text that was found
    if reason == "end_turn" and isinstance(sequence, str):
        return {"stop_reason": "stop_sequence", "stop_sequence": sequence}
    return {"stop_reason": reason, "stop_sequence": None}


def _whole_block(piece: Piece) -> dict[str, Any]:
    if piece.kind == "call":
        return {"type": "tool_use", "id": piece.id, "name": piece.name, "input": _arguments(piece.text)}
    return _begun(piece) | {"thinking" if piece.kind == "thought" else "text": piece.text}


def _arguments(text: str) -> Any:
    """The input of a tool. Models may write what is no JSON; the client's tool is to say so, not we."""
    try:
        made = orjson.loads(text or "{}")
    except orjson.JSONDecodeError:
        return {"_raw": text}
    return made if isinstance(made, dict) else {"_raw": text}


def _begun(piece: Piece) -> dict[str, Any]:
    if piece.kind == "call":
        return {"type": "tool_use", "id": piece.id, "name": piece.name, "input": {}}
    if piece.kind == "thought":
        return {"type": "thinking", "thinking": "", "signature": ""}
    return {"type": "text", "text": ""}


def _delta(piece: Piece) -> dict[str, Any]:
    if piece.kind == "call":
        return {"type": "input_json_delta", "partial_json": piece.text}
    if piece.kind == "thought":
        return {"type": "thinking_delta", "thinking": piece.text}
    return {"type": "text_delta", "text": piece.text}


class MessagesVoice:
    """One stream of a message. One block is open at a time."""

    def __init__(self, model: str, id: str, prompt_tokens: int, priority: Priority) -> None:
        """`prompt_tokens` is an estimate; the true count comes with the last event but one."""
        self._model = model
        self._id = id
        self._prompt_tokens = prompt_tokens
        self._priority = priority
        self._blocks = 0
        self._open: tuple[str, int] | None = None
        """Kind of the open block, and which call it is."""
        self._calls = -1
        """The last call that began."""
        self._last: dict[str, Any] = {}

    def begin(self) -> bytes:
        message = empty_message(self._model, self._id)
        usage = usage_of({"prompt_tokens": self._prompt_tokens}) | tier_of(self._priority)
        return named_event({"type": "message_start", "message": {**message, "usage": usage}})

    def say(self, chunk: dict[str, Any]) -> bytes:
        out = b"".join(map(self._piece, pieces(chunk)))
        choice = first_choice(chunk)
        if choice.get("finish_reason"):
            self._last = choice
        return out

    def end(self, usage: Mapping[str, Any]) -> bytes:
        told = {"type": "message_delta", "delta": _stopped(self._last), "usage": usage_of(usage)}
        return self._close() + named_event(told) + named_event({"type": "message_stop"})

    def fail(self, failure: ApiError) -> bytes:
        return named_event(error_body(failure, self._id))

    def _piece(self, piece: Piece) -> bytes:
        out = b""
        if self._open != (piece.kind, piece.index):
            if piece.kind == "call" and piece.index <= self._calls:
                raise ValueError("the engine went back to a tool call that was over")
            out = self._close() + self._begin_block(piece)
        if piece.text:
            out += named_event({"type": "content_block_delta", "index": self._blocks, "delta": _delta(piece)})
        return out

    def _begin_block(self, piece: Piece) -> bytes:
        self._open = (piece.kind, piece.index)
        if piece.kind == "call":
            self._calls = piece.index
        return named_event({"type": "content_block_start", "index": self._blocks, "content_block": _begun(piece)})

    def _close(self) -> bytes:
        if self._open is None:
            return b""
        self._open = None
        self._blocks += 1
        return named_event({"type": "content_block_stop", "index": self._blocks - 1})
