"""Calls of the Responses API (`/v1/responses`), put into the shape of a chat completion. Pure.

A conversation is a list of items here: messages, thoughts, calls of tools and what came of them. Items of tools that
only a vendor's servers can run mean nothing to the models here; they are left out and named as ignored.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from inference.gateway.chat import joined, picture, shown
from inference.gateway.faults import bad_request

SAME = ("model", "temperature", "top_p", "stream", "parallel_tool_calls", "metadata", "chat_template_kwargs",
        "service_tier")  # fmt: skip
REFUSED: Mapping[str, str] = {
    "background": "a call is answered at once; use `stream` for long answers",
    "conversation": "conversations are not kept here; send `input` whole, or `previous_response_id`",
    "prompt": "stored prompts do not exist here; send `instructions` and `input`",
}
FREE_TEXT: Mapping[str, Any] = {
    "type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"], "additionalProperties": False,
}  # fmt: skip
"""The schema of a custom tool, whose input is any text."""

Item = Mapping[str, Any]


def chat_body(body: Mapping[str, Any], before: Sequence[Item] = ()) -> dict[str, Any]:
    """The chat completion that this call stands for, after the items of the responses `before`.

    Raises:
        ApiError: (400) something cannot be honoured.
    """
    for name, why in REFUSED.items():
        if body.get(name):
            raise bad_request(f"`{name}` is not supported: {why}", name, "unsupported_parameter")
    made: dict[str, Any] = {key: body[key] for key in SAME if body.get(key) is not None}
    instructions = body.get("instructions")
    if instructions is not None and not isinstance(instructions, str):
        raise bad_request("`instructions` must be a text", "instructions")
    made["messages"] = [{"role": "system", "content": instructions}] if instructions else []
    made["messages"] += messages_of([*before, *items_of(body)])
    if body.get("max_output_tokens") is not None:
        made["max_tokens"] = body["max_output_tokens"]
    reasoning = body.get("reasoning")
    if isinstance(reasoning, Mapping) and reasoning.get("effort") == "none":
        made.setdefault("chat_template_kwargs", {"enable_thinking": False})
    return made | _format(body.get("text")) | _tools(body)


def items_of(body: Mapping[str, Any]) -> list[Item]:
    """The input as a list of items. Raises ApiError (400)."""
    given = body.get("input")
    if isinstance(given, str) and given:
        return [{"type": "message", "role": "user", "content": given}]
    if not isinstance(given, list) or not given or not all(isinstance(item, Mapping) for item in given):
        raise bad_request("`input` must be a text or a list of items, and not be empty", "input")
    return given


def ignored(body: Mapping[str, Any]) -> tuple[str, ...]:
    """What of the call is left out, by type."""
    tools, items = body.get("tools"), body.get("input")
    found = [str(tool.get("type")) for tool in tools if _foreign(tool)] if isinstance(tools, list) else []
    found += [_kind(item) for item in items if _kind(item) not in OWN] if isinstance(items, list) else []
    return tuple(dict.fromkeys(found + (["truncation"] if body.get("truncation") == "auto" else [])))


def custom_tools(body: Mapping[str, Any]) -> frozenset[str]:
    """Names of tools whose input is free text."""
    tools = body.get("tools")
    if not isinstance(tools, list):
        return frozenset()
    return frozenset(str(tool.get("name")) for tool in tools if _type(tool) == "custom")


def messages_of(items: Iterable[Item]) -> list[dict[str, Any]]:
    """Chat messages of a conversation: a thought, a text and calls that follow one another are one message."""
    made: list[dict[str, Any]] = []
    pictures: list[dict[str, Any]] = []
    for n, item in enumerate(items):
        place = f"input[{n}]"
        kind = _kind(item)
        if pictures and kind not in OUTPUTS:  # the results of several calls must stay together
            made.append({"role": "user", "content": pictures})
            pictures = []
        if kind == "message":
            _add_message(made, item, place)
        elif kind == "reasoning":
            if thought := _thought(item):
                made.append({"role": "assistant", "content": "", "reasoning_content": thought})
        elif kind in ("function_call", "custom_tool_call"):
            _assistant(made).setdefault("tool_calls", []).append(_call(item, kind))
        elif kind in OUTPUTS:
            text, seen = shown(_parts(item.get("output"), place))
            pictures += seen
            made.append({"role": "tool", "tool_call_id": str(item.get("call_id") or ""), "content": text})
        elif kind == "item_reference":
            raise bad_request("items are not kept here; send the item itself", place, "unsupported_parameter")
    return [*made, {"role": "user", "content": pictures}] if pictures else made


OUTPUTS = frozenset({"function_call_output", "custom_tool_call_output"})
OWN = OUTPUTS | {"message", "reasoning", "function_call", "custom_tool_call", "item_reference"}
"""Types of items that have a meaning here."""


def _kind(item: Any) -> str:
    kind = _type(item)
    return str(kind or "message")


def _type(value: Any) -> Any:
    return value.get("type") if isinstance(value, Mapping) else None


def _add_message(made: list[dict[str, Any]], item: Item, place: str) -> None:
    role = item.get("role")
    if role not in ("user", "assistant", "system", "developer"):
        raise bad_request(f"{place} has the unknown role {role!r}", f"{place}.role")
    content = joined(_parts(item.get("content"), place, pictures=role == "user"))
    last = made[-1] if made else {}
    if role == "assistant" and last.get("role") == "assistant" and not last["content"] and "tool_calls" not in last:
        last["content"] = content
    else:
        made.append({"role": role, "content": content})


def _assistant(made: list[dict[str, Any]]) -> dict[str, Any]:
    """The assistant's message that a call belongs to."""
    if not made or made[-1]["role"] != "assistant":
        made.append({"role": "assistant", "content": ""})
    return made[-1]


def _call(item: Item, kind: str) -> dict[str, Any]:
    arguments = item.get("arguments") or "{}"
    if kind == "custom_tool_call":
        arguments = orjson.dumps({"input": str(item.get("input") or "")}).decode()
    return {
        "id": item.get("call_id"), "type": "function",
        "function": {"name": item.get("name"), "arguments": arguments},
    }  # fmt: skip


def _thought(item: Item) -> str:
    """The text of a thought; what is encrypted or only summed up elsewhere is lost on the models here."""
    parts = item.get("content") or item.get("summary") or ()
    texts = [part.get("text") for part in parts if isinstance(part, Mapping)] if isinstance(parts, list) else []
    return "\n".join(text for text in texts if isinstance(text, str))


def _parts(content: Any, place: str, pictures: bool = True) -> list[dict[str, Any]]:
    """A text or parts as parts of a chat message."""
    if content is None or isinstance(content, str):
        return [{"type": "text", "text": content or ""}]
    if not isinstance(content, list):
        raise bad_request(f"{place} must hold a text or parts", place)
    return [_part(part, place, pictures) for part in content]


def _part(part: Any, place: str, pictures: bool) -> dict[str, Any]:
    kind = _type(part)
    if kind in ("input_text", "output_text", "text", "refusal"):
        return {"type": "text", "text": str(part.get("text") or part.get("refusal") or "")}
    if kind == "input_image" and pictures:
        return picture(part.get("image_url"), place)
    raise bad_request(
        f"{place} holds a part of type {kind!r}, which the models here do not take", place, "unsupported_content"
    )


def _format(text: Any) -> dict[str, Any]:
    wanted = text.get("format") if isinstance(text, Mapping) else None
    if wanted is None:
        return {}
    if _type(wanted) != "json_schema":
        return {"response_format": wanted}
    inner = {key: wanted[key] for key in ("name", "schema", "strict", "description") if wanted.get(key) is not None}
    return {"response_format": {"type": "json_schema", "json_schema": inner}}


def _tools(body: Mapping[str, Any]) -> dict[str, Any]:
    tools, choice = body.get("tools"), body.get("tool_choice")
    if tools is not None and not (isinstance(tools, list) and all(isinstance(tool, Mapping) for tool in tools)):
        raise bad_request("`tools` must be a list of tools", "tools")
    ours = [_tool(tool) for tool in tools or () if not _foreign(tool)]
    if isinstance(choice, Mapping) and choice.get("type") == "allowed_tools":
        allowed = choice.get("tools")
        names = [tool.get("name") for tool in allowed if isinstance(tool, Mapping)] if isinstance(allowed, list) else []
        ours = [tool for tool in ours if tool["function"]["name"] in names]
        choice = choice.get("mode") or "auto"
    made: dict[str, Any] = {"tools": ours} if ours else {}
    if choice is None:
        return made
    if isinstance(choice, str):
        return made | {"tool_choice": choice}
    if not isinstance(choice, Mapping) or choice.get("type") not in ("function", "custom"):
        raise bad_request(f"`tool_choice` {_type(choice)!r} names no tool of yours", "tool_choice")
    return made | {"tool_choice": {"type": "function", "function": {"name": choice.get("name")}}}


def _tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    described = str(tool.get("description") or "")
    if tool.get("type") == "custom":
        form = tool.get("format")
        if isinstance(form, Mapping) and form.get("type") == "grammar":
            described = f"{described}\n\nThe input follows this grammar:\n{form.get('definition')}".strip()
        parameters = FREE_TEXT
    else:
        parameters = tool.get("parameters") or {"type": "object"}
    function = {"name": tool.get("name"), "parameters": parameters}
    return {"type": "function", "function": function | ({"description": described} if described else {})}


def _foreign(tool: Any) -> bool:
    """A tool that is no function of the client's."""
    return isinstance(tool, Mapping) and tool.get("type") not in ("function", "custom")
