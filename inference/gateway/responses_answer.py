"""Answers in the shape of the Responses API: the response with its items, and the events that build it. Pure.

Its clients wait for `response.completed` (or `.incomplete`, `.failed`) and hold every other end for a broken line.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import orjson

from inference.gateway.faults import CONTEXT_CODE, ApiError
from inference.gateway.messages_answer import named_event
from inference.gateway.pieces import Piece, as_chunk, cached_tokens, first_choice, pieces

ECHOED: Mapping[str, Any] = {
    "instructions": None, "max_output_tokens": None, "metadata": {}, "parallel_tool_calls": True,
    "previous_response_id": None, "reasoning": {"effort": None, "summary": None}, "store": True, "temperature": 1.0,
    "text": {"format": {"type": "text"}}, "tool_choice": "auto", "tools": [], "top_p": 1.0, "truncation": "disabled",
    "user": None,
}  # fmt: skip
"""What a response repeats of its call, with the values that stand for what was not said."""
CUT = {"length": "max_output_tokens", "content_filter": "content_filter"}

Done = Callable[[dict[str, Any]], None]
"""Told the response when it is whole."""


def empty_response(body: Mapping[str, Any], model: str, id: str, created: int) -> dict[str, Any]:
    """A response of which nothing is known yet."""
    echo = {key: body[key] if body.get(key) is not None else value for key, value in ECHOED.items()}
    return {
        "id": f"resp_{id}", "object": "response", "created_at": created, "status": "in_progress", "model": model,
        "output": [], "error": None, "incomplete_details": None, "usage": None, **echo,
    }  # fmt: skip


def usage_of(usage: Mapping[str, Any]) -> dict[str, Any] | None:
    """Token counts as this API has them; None when the engine told none."""
    if not usage:
        return None
    prompt, completion = int(usage.get("prompt_tokens") or 0), int(usage.get("completion_tokens") or 0)
    details = usage.get("completion_tokens_details") or {}
    return {
        "input_tokens": prompt, "output_tokens": completion, "total_tokens": prompt + completion,
        "input_tokens_details": {"cached_tokens": cached_tokens(usage), "cache_write_tokens": 0},
        "output_tokens_details": {"reasoning_tokens": int(details.get("reasoning_tokens") or 0)},
    }  # fmt: skip


class ResponsesVoice:
    """One response on its way. One item is open at a time; `response` is what is known so far."""

    def __init__(self, response: dict[str, Any], customs: frozenset[str], done: Done) -> None:
        """`customs` are the tools whose input is free text."""
        self.response = response
        self._customs = customs
        self._done = done
        self._count = 0
        self._key: tuple[str, int] | None = None
        """Kind of the open item, and which call it is."""
        self._calls = -1
        self._text: list[str] = []
        self._reason = "stop"

    def begin(self) -> bytes:
        return self._state("created") + self._state("in_progress")

    def say(self, chunk: dict[str, Any]) -> bytes:
        out = b"".join(map(self._piece, pieces(chunk)))
        self._reason = first_choice(chunk).get("finish_reason") or self._reason
        return out

    def end(self, usage: Mapping[str, Any]) -> bytes:
        status = "incomplete" if self._reason in CUT else "completed"
        out = self._close(status)
        if status == "incomplete":
            self.response["incomplete_details"] = {"reason": CUT[self._reason]}
        self.response |= {"status": status, "usage": usage_of(usage)}
        self._done(self.response)
        return out + self._state(status)

    def fail(self, failure: ApiError) -> bytes:
        code = {429: "rate_limit_exceeded"}.get(failure.status, "server_error")
        if failure.code == CONTEXT_CODE:
            code = CONTEXT_CODE  # clients shorten the conversation when they read this
        self.response |= {"status": "failed", "error": {"code": code, "message": failure.message}}
        return self._state("failed")

    def _state(self, name: str) -> bytes:
        return self._event(f"response.{name}", response=self.response)

    def _event(self, type: str, **fields: Any) -> bytes:
        self._count += 1
        return named_event({"type": type, "sequence_number": self._count - 1, **fields})

    @property
    def _place(self) -> dict[str, Any]:
        return {"item_id": self._item["id"], "output_index": len(self.response["output"]) - 1}

    @property
    def _item(self) -> dict[str, Any]:
        item: dict[str, Any] = self.response["output"][-1]
        return item

    def _piece(self, piece: Piece) -> bytes:
        out = b""
        if self._key != (piece.kind, piece.index):
            if piece.kind == "call" and piece.index <= self._calls:
                raise ValueError("the engine went back to a tool call that was over")
            out = self._close("completed") + self._open(piece)
        self._text.append(piece.text)
        kind = self._item["type"]
        if not piece.text or kind == "custom_tool_call":  # whose text has to be unpacked when it is whole
            return out
        if kind == "function_call":
            return out + self._event("response.function_call_arguments.delta", **self._place, delta=piece.text)
        more: dict[str, Any] = {"logprobs": []} if kind == "message" else {}
        return out + self._event(
            f"response.{_part_type(kind)}.delta", **self._place, content_index=0, delta=piece.text, **more
        )

    def _open(self, piece: Piece) -> bytes:
        self._key, self._text = (piece.kind, piece.index), []
        if piece.kind == "call":
            self._calls = piece.index
        output = self.response["output"]
        item = new_item(piece, f"{self.response['id'].removeprefix('resp_')}_{len(output)}", self._customs)
        output.append(item)
        out = self._event("response.output_item.added", output_index=len(output) - 1, item=item)
        if item["type"] in ("message", "reasoning"):
            out += self._event("response.content_part.added", **self._place, content_index=0, part=_part(item, ""))
        return out

    def _close(self, status: str) -> bytes:
        """The open item is over. `status` says whether it is whole."""
        if self._key is None:
            return b""
        self._key = None
        item, text = self._item, "".join(self._text)
        item["status"] = status
        if item["type"] == "function_call":
            item["arguments"] = text
            out = self._event("response.function_call_arguments.done", **self._place, name=item["name"], arguments=text)
        elif item["type"] == "custom_tool_call":
            item["input"] = free_text(text)
            out = self._event("response.custom_tool_call_input.delta", **self._place, delta=item["input"])
            out += self._event("response.custom_tool_call_input.done", **self._place, input=item["input"])
        else:
            part = _part(item, text)
            item["content"] = [part]
            more: dict[str, Any] = {"logprobs": []} if item["type"] == "message" else {}
            out = self._event(f"response.{part['type']}.done", **self._place, content_index=0, text=text, **more)
            out += self._event("response.content_part.done", **self._place, content_index=0, part=part)
        return out + self._event("response.output_item.done", output_index=self._place["output_index"], item=item)


def response_of(answer: dict[str, Any], voice: ResponsesVoice) -> dict[str, Any]:
    """A whole shaped answer as a response: what a stream of it would have built."""
    voice.say(as_chunk(answer))
    voice.end(answer.get("usage") or {})
    return voice.response


def new_item(piece: Piece, id: str, customs: frozenset[str]) -> dict[str, Any]:
    """The item that this piece begins."""
    if piece.kind == "thought":
        return {"id": f"rs_{id}", "type": "reasoning", "summary": [], "content": [], "status": "in_progress"}
    if piece.kind == "text":
        return {"id": f"msg_{id}", "type": "message", "role": "assistant", "status": "in_progress", "content": []}
    head = {"call_id": piece.id, "name": piece.name, "status": "in_progress"}
    if piece.name in customs:
        return {"id": f"ctc_{id}", "type": "custom_tool_call", **head, "input": ""}
    return {"id": f"fc_{id}", "type": "function_call", **head, "arguments": ""}


def free_text(arguments: str) -> str:
    """The input of a custom tool, unpacked from the call of a function. A broken call is passed on as it is."""
    try:
        made = orjson.loads(arguments)
    except orjson.JSONDecodeError:
        return arguments
    text = made.get("input") if isinstance(made, dict) else None
    return text if isinstance(text, str) else arguments


def _part_type(kind: str) -> str:
    return "output_text" if kind == "message" else "reasoning_text"


def _part(item: Mapping[str, Any], text: str) -> dict[str, Any]:
    more: dict[str, Any] = {"annotations": [], "logprobs": []} if item["type"] == "message" else {}
    return {"type": _part_type(item["type"]), "text": text, **more}
