"""What a shaped chat chunk says, piece by piece: a thought, a text, a tool call. Pure.

Doors that speak of blocks and items (`messages_answer`, `responses_answer`) read answers through this.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Piece:
    """A part of an answer. The first piece of a call has its id and name."""

    kind: Literal["thought", "text", "call"]
    text: str
    index: int = 0
    """Which call, counted from 0."""
    id: str = ""
    name: str = ""


def pieces(chunk: dict[str, Any]) -> Iterator[Piece]:
    """The pieces of a chunk's first choice. Empty ones are left out, but for the beginning of a call."""
    delta = first_choice(chunk).get("delta") or {}
    if thought := delta.get("reasoning_content"):
        yield Piece("thought", thought)
    if text := delta.get("content") or delta.get("refusal"):
        yield Piece("text", text)
    for call in delta.get("tool_calls") or ():
        function = call.get("function") or {}
        text, name = function.get("arguments") or "", function.get("name", "")
        made = Piece("call", text, call["index"], call.get("id", ""), name)
        if made.text or made.name:
            yield made


def speaks(chunk: dict[str, Any]) -> bool:
    """Whether a chunk of any choice has something for its reader, beyond a role."""
    deltas = [choice.get("delta") or choice for choice in chunk["choices"]]
    return any(delta.get(key) for delta in deltas for key in ("content", "text", "reasoning_content", "tool_calls"))


def first_choice(chunk: dict[str, Any]) -> dict[str, Any]:
    """The only choice there is where an API knows no others."""
    choices = chunk.get("choices") or [{}]
    choice: dict[str, Any] = choices[0]
    return choice


def as_chunk(answer: dict[str, Any]) -> dict[str, Any]:
    """A whole shaped answer as the one chunk of a stream."""
    choice = first_choice(answer)
    message = dict(choice.get("message") or {})
    if calls := message.get("tool_calls"):
        message["tool_calls"] = [{**call, "index": n} for n, call in enumerate(calls)]
    return {"choices": [{"index": 0, "delta": message, "finish_reason": choice.get("finish_reason")}]}


def cached_tokens(usage: Any) -> int:
    """Prompt tokens that the engine did not have to compute again."""
    details = usage.get("prompt_tokens_details") or {}
    return int(details.get("cached_tokens") or 0)
