"""Calls of the Messages API (`/v1/messages`), put into the shape of a chat completion. Pure.

What the models here cannot honour (files, tools that run on the vendor's servers) is refused or named as ignored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from inference.gateway.chat import joined, picture, shown
from inference.gateway.faults import CONTEXT_CODE, ApiError, bad_request

BILLING = "x-anthropic-billing-header"
"""A line that one client puts at the head of its instructions. It differs in every call: prompts that differ in their
first line cannot share the engine's prompt cache."""
SAME = ("model", "max_tokens", "temperature", "top_p", "top_k", "stream")
CHOICES = {"auto": "auto", "any": "required", "none": "none"}
TYPES: Mapping[int, str] = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}


def chat_body(body: Mapping[str, Any]) -> dict[str, Any]:
    """The chat completion that this call stands for. Raises ApiError (400)."""
    made: dict[str, Any] = {key: body[key] for key in SAME if body.get(key) is not None}
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise bad_request("`messages` must be a list with at least one message", "messages")
    instructions = _instructions(body.get("system"))
    made["messages"] = [{"role": "system", "content": instructions}] if instructions else []
    for n, message in enumerate(messages):
        made["messages"] += _messages(message, n)
    if body.get("stop_sequences"):
        made["stop"] = body["stop_sequences"]
    if isinstance(body.get("metadata"), Mapping):
        made["metadata"] = body["metadata"]
    made |= _thinking(body.get("thinking")) | _format(body) | _tools(body)
    return made


def ignored(body: Mapping[str, Any]) -> tuple[str, ...]:
    """Tools that only the vendor's servers can run: the model is not told of them."""
    tools = body.get("tools")
    return tuple(str(tool.get("type")) for tool in tools if _foreign(tool)) if isinstance(tools, list) else ()


def error_body(failure: ApiError, request_id: str) -> dict[str, Any]:
    """A failure as this API's clients expect it."""
    kind = TYPES.get(failure.status, "api_error" if failure.status >= 500 else "invalid_request_error")
    # Clients that shorten a conversation when it has grown too long look for these words.
    message = f"prompt is too long: {failure.message}" if failure.code == CONTEXT_CODE else failure.message
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": request_id}


def _instructions(system: Any) -> str:
    if system is None:
        return ""
    texts = [system] if isinstance(system, str) else [_plain(block, "system") for block in _list(system, "system")]
    kept = (_without_billing(text) for text in texts)
    return "\n\n".join(text for text in kept if text)


def _without_billing(text: str) -> str:
    if BILLING not in text.lower():
        return text
    return "\n".join(line for line in text.split("\n") if not line.strip().lower().startswith(BILLING)).strip("\n")


def _messages(message: Any, n: int) -> list[dict[str, Any]]:
    """One message of theirs; several of ours, since each result of a tool is a message of its own."""
    place = f"messages[{n}]"
    role = message.get("role") if isinstance(message, Mapping) else None
    if role not in ("user", "assistant", "system"):
        raise bad_request(f"message {n} has the unknown role {role!r}", f"{place}.role")
    content = message.get("content")
    if content is None or isinstance(content, str):
        return [{"role": role, "content": content or ""}]
    blocks = _list(content, f"{place}.content")
    return [_said(blocks, place)] if role == "assistant" else _asked(blocks, role, place)


def _asked(blocks: Sequence[Mapping[str, Any]], role: str, place: str) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    parts: list[dict[str, Any]] = []
    pictures: list[dict[str, Any]] = []
    for block in blocks:
        if block.get("type") == "tool_result":
            if parts:
                made.append({"role": role, "content": joined(parts)})
                parts = []
            text, seen = _result(block, place)
            made.append({"role": "tool", "tool_call_id": str(block.get("tool_use_id") or ""), "content": text})
            pictures += seen
        else:
            parts.append(_part(block, place, pictures=role == "user"))
    parts = pictures + parts
    return [*made, {"role": role, "content": joined(parts)}] if parts or not made else made


def _result(block: Mapping[str, Any], place: str) -> tuple[str, list[dict[str, Any]]]:
    """The text of a tool's result, and its pictures."""
    content = block.get("content")
    if content is None or isinstance(content, str):
        content = [{"type": "text", "text": content or ""}]
    text, pictures = shown([_part(part, place) for part in _list(content, f"{place}.content")])
    return f"Error: {text}" if block.get("is_error") else text, pictures


def _part(block: Mapping[str, Any], place: str, pictures: bool = True) -> dict[str, Any]:
    """A block as a part of a chat message."""
    if block.get("type") != "image" or not pictures:
        return {"type": "text", "text": _plain(block, place)}
    source = block.get("source")
    given: Mapping[str, Any] = source if isinstance(source, Mapping) else {}
    if given.get("type") == "base64":
        return picture(f"data:{given.get('media_type')};base64,{given.get('data')}", place)
    return picture(given.get("url"), place)


def _said(blocks: Sequence[Mapping[str, Any]], place: str) -> dict[str, Any]:
    texts, thoughts, calls = [], [], []
    for block in blocks:
        kind = block.get("type")
        if kind == "thinking":
            thoughts.append(str(block.get("thinking") or ""))
        elif kind == "tool_use":
            arguments = orjson.dumps(block.get("input") or {}).decode()
            function = {"name": block.get("name"), "arguments": arguments}
            calls.append({"id": block.get("id"), "type": "function", "function": function})
        elif kind != "redacted_thinking":
            texts.append(_plain(block, place))
    made: dict[str, Any] = {"role": "assistant", "content": "\n".join(texts)}
    if thoughts:
        made["reasoning_content"] = "\n".join(thoughts)
    return made | ({"tool_calls": calls} if calls else {})


def _plain(block: Any, place: str) -> str:
    """The text of a block that has one."""
    kind = block.get("type") if isinstance(block, Mapping) else type(block).__name__
    if kind == "text":
        return str(block.get("text") or "")
    source = block.get("source") if kind == "document" else None
    if isinstance(source, Mapping) and source.get("type") == "text":
        return str(source.get("data") or "")
    raise bad_request(
        f"{place} holds a block of type {kind!r}, which the models here do not take", place, "unsupported_content"
    )


def _list(value: Any, place: str) -> list[Mapping[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(block, Mapping) for block in value):
        raise bad_request(f"`{place}` must be a text or a list of blocks", place)
    return value


def _thinking(wanted: Any) -> dict[str, Any]:
    """Templates of models that can think look at this variable; others pass over it."""
    kind = wanted.get("type") if isinstance(wanted, Mapping) else None
    return {"chat_template_kwargs": {"enable_thinking": kind != "disabled"}} if kind else {}


def _format(body: Mapping[str, Any]) -> dict[str, Any]:
    config = body.get("output_config")
    wanted = body.get("output_format") or (config.get("format") if isinstance(config, Mapping) else None)
    if wanted is None:
        return {}
    if not isinstance(wanted, Mapping) or wanted.get("type") != "json_schema":
        raise bad_request("an output format is `{type: json_schema, schema}`", "output_format")
    return {
        "response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": wanted.get("schema")}}
    }


def _tools(body: Mapping[str, Any]) -> dict[str, Any]:
    tools = body.get("tools")
    if tools is not None and not (isinstance(tools, list) and all(isinstance(tool, Mapping) for tool in tools)):
        raise bad_request("`tools` must be a list of tools", "tools")
    ours = [_tool(tool) for tool in tools or () if not _foreign(tool)]
    made: dict[str, Any] = {"tools": ours} if ours else {}
    choice = body.get("tool_choice")
    if choice is None:
        return made
    kind = choice.get("type") if isinstance(choice, Mapping) else None
    if kind == "tool":
        made["tool_choice"] = {"type": "function", "function": {"name": choice.get("name")}}
    elif isinstance(kind, str) and kind in CHOICES:
        made["tool_choice"] = CHOICES[kind]
    else:
        raise bad_request(f"unknown `tool_choice` {kind!r}", "tool_choice")
    if choice.get("disable_parallel_tool_use") is True:
        made["parallel_tool_calls"] = False
    return made


def _tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    function = {"name": tool.get("name"), "parameters": tool.get("input_schema") or {"type": "object"}}
    if tool.get("description"):
        function["description"] = tool["description"]
    return {"type": "function", "function": function}


def _foreign(tool: Any) -> bool:
    """A tool without a schema of its own: its meaning is known to the vendor alone."""
    return isinstance(tool, Mapping) and tool.get("type") not in (None, "custom") and "input_schema" not in tool
