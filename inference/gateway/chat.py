"""Bodies of calls, put into the one shape that every engine understands. Pure.

Clients send more than engines take: a `developer` role, content in parts, two names for the same limit, parameters of
other vendors. What means something is translated, what means nothing here is dropped, what cannot be honoured is
refused with a reason: it is never ignored in silence.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from inference.gateway.demand import demand_call
from inference.gateway.faults import bad_request
from inference.limits import Priority

SAMPLING = (
    "temperature", "top_p", "n", "stop", "seed", "presence_penalty", "frequency_penalty", "logit_bias", "top_k",
    "min_p", "repeat_penalty", "repetition_penalty", "typical_p", "min_tokens", "ignore_eos",
)  # fmt: skip
CHAT = (
    *SAMPLING, "logprobs", "top_logprobs", "tools", "tool_choice", "parallel_tool_calls", "response_format", "grammar",
    "chat_template_kwargs",
)  # fmt: skip
TEXT = (*SAMPLING, "logprobs", "echo", "suffix", "grammar")
"""What goes on to the engine. All else (`store`, `user`, `reasoning_effort`, …) is dropped."""

ROLES = ("system", "user", "assistant", "tool")
TEXT_PARTS = ("text", "input_text", "output_text")
PICTURE = re.compile(r"data:image/(?:png|jpe?g|gif|webp);base64,[A-Za-z0-9+/=\s]+")
"""A picture comes with the call. One at an address would have to be fetched, and this box fetches nothing."""
PICTURE_CHARACTERS = 4000
"""What a picture counts in a prompt: about a thousand tokens with the usual models that see."""
FLEX, USUAL = "flex", "default"
"""Service tiers of OpenAI's APIs: calls that can wait, and all others."""
SHOWN_BELOW = "(the picture is in the next message)"
MESSAGE_KEYS = ("name", "tool_calls", "tool_call_id", "reasoning_content")
CHARACTERS_PER_TOKEN = 4
"""A rough average over English and code; only for choosing among models: the engine has the last word on length."""


@dataclass(frozen=True)
class Prepared:
    """A call ready for an engine; `model` is put in when one is chosen."""

    payload: dict[str, Any]
    model: str
    path: str
    """Where the engine takes it; the client may have come by another door."""
    stream: bool = False
    include_usage: bool = False
    prompt_tokens: int = 0
    needs: tuple[str, ...] = ()
    must_call: bool = False
    """The client demands a tool call: the answer's text is that call (see `demand`)."""
    priority: Priority = Priority.INTERACTIVE
    """What the call asks for; its key may have a lower one."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()
    """What was asked for and could be left out without harm; named in a header."""

    def for_model(self, model: str) -> bytes:
        """The body for this model's engine."""
        return orjson.dumps({**self.payload, "model": model})


def prepare_chat(body: Mapping[str, Any]) -> Prepared:
    """A chat completion. Raises ApiError (400) for what cannot be honoured."""
    if body.get("functions") or body.get("function_call"):
        raise bad_request("`functions` is gone from the API; use `tools`", "functions", "unsupported_parameter")
    payload = _known(body, CHAT)
    payload["messages"] = normalise_messages(body.get("messages"))
    demanded = _tools(payload)
    _response_format(payload)
    needs = [need for need, key in (("tools", "tools"), ("json_schema", "response_format")) if key in payload]
    needs += ["vision"] if any(isinstance(message["content"], list) for message in payload["messages"]) else []
    length = _characters(payload["messages"]) + len(orjson.dumps(payload.get("tools", "")))
    if demanded:
        demand_call(payload, demanded)
    return _finish(body, payload, "/v1/chat/completions", length, needs, must_call=bool(demanded))


def prepare_completion(body: Mapping[str, Any]) -> Prepared:
    """A legacy text completion."""
    prompt = body.get("prompt")
    if not isinstance(prompt, str | list) or prompt == []:
        raise bad_request("`prompt` must be a text or a list", "prompt")
    if body.get("response_format"):
        raise bad_request(
            "completions take no `response_format`; use chat completions", "response_format", "unsupported_parameter"
        )
    payload = _known(body, TEXT)
    payload["prompt"] = prompt
    return _finish(body, payload, "/v1/completions", _characters(prompt), [])


def _known(body: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: body[name] for name in names if body.get(name) is not None}


def _finish(
    body: Mapping[str, Any], payload: dict[str, Any], path: str, length: int, needs: list[str], must_call: bool = False
) -> Prepared:
    limit = body.get("max_completion_tokens")
    limit = body.get("max_tokens") if limit is None else limit
    if limit is not None:
        if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
            raise bad_request("`max_tokens` must be a whole number above zero", "max_tokens")
        payload["max_tokens"] = limit
    stream = body.get("stream") is True
    options = body.get("stream_options") or {}
    if stream:
        needs.append("stream")
        # Always asked for: the gateway keeps the figures even when the client does not want them.
        payload |= {"stream": True, "stream_options": {"include_usage": True}}
    metadata = body.get("metadata")
    return Prepared(
        payload=payload,
        model=model_of(body),
        path=path,
        stream=stream,
        include_usage=isinstance(options, Mapping) and options.get("include_usage") is True,
        prompt_tokens=length // CHARACTERS_PER_TOKEN,
        needs=tuple(needs),
        must_call=must_call,
        priority=priority_of(body),
        metadata=metadata if isinstance(metadata, Mapping) else {},
    )


def model_of(body: Mapping[str, Any]) -> str:
    """The model asked for; `auto` when none is named."""
    model = body.get("model") or "auto"
    if not isinstance(model, str):
        raise bad_request("`model` must be a text", "model")
    return model


def priority_of(body: Mapping[str, Any]) -> Priority:
    """What a call says of its haste: `flex` is what OpenAI's clients call batch; other tiers mean nothing here."""
    metadata = body.get("metadata")
    said = metadata.get("priority") if isinstance(metadata, Mapping) else None
    return Priority.BATCH if body.get("service_tier") == FLEX or said == Priority.BATCH else Priority.INTERACTIVE


def tier_of(body: Mapping[str, Any], priority: Priority) -> dict[str, str]:
    """What an answer of OpenAI's APIs says of how it was served: the tier it had, where its call named one."""
    if body.get("service_tier") is None:
        return {}
    return {"service_tier": FLEX if priority is Priority.BATCH else USUAL}


def normalise_messages(messages: Any) -> list[dict[str, Any]]:
    """Messages with plain text contents (in parts where a person shows pictures), and all instructions in one first
    system message."""
    if not isinstance(messages, list) or not messages:
        raise bad_request("`messages` must be a list with at least one message", "messages")
    instructions: list[str] = []
    rest: list[dict[str, Any]] = []
    for n, message in enumerate(messages):
        if not isinstance(message, Mapping):
            raise bad_request(f"message {n} is not an object", f"messages[{n}]")
        role = "system" if message.get("role") == "developer" else message.get("role")
        if role not in ROLES:
            raise bad_request(f"message {n} has the unknown role {role!r}", f"messages[{n}].role")
        content = _content(message.get("content"), n, pictures=role == "user")
        if role == "system":
            instructions.append(content)
            continue
        made = {"role": role, "content": content} | {key: message[key] for key in MESSAGE_KEYS if message.get(key)}
        if "tool_calls" in made:
            if not isinstance(made["tool_calls"], list):
                raise bad_request(f"the tool calls of message {n} are not a list", f"messages[{n}].tool_calls")
            made["tool_calls"] = [_tool_call(call, n) for call in made["tool_calls"]]
        rest.append(made)
    merged = "\n\n".join(text for text in instructions if text)
    made_all = [{"role": "system", "content": merged}, *rest] if merged else rest
    if not made_all:
        raise bad_request("all messages are empty", "messages")
    return made_all


def _content(content: Any, n: int, *, pictures: bool) -> Any:
    """A text; a list of parts where there are pictures among them."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise bad_request(f"the content of message {n} must be a text, parts or null", f"messages[{n}].content")
    return joined([_part(part, n, pictures) for part in content])


def _part(part: Any, n: int, pictures: bool) -> dict[str, Any]:
    kind = part.get("type") if isinstance(part, Mapping) else type(part).__name__
    if kind == "refusal":
        return {"type": "text", "text": str(part.get("refusal") or "")}
    if kind in TEXT_PARTS:
        return {"type": "text", "text": str(part.get("text") or "")}
    if kind == "image_url" and pictures:
        given = part.get("image_url")
        return picture(given.get("url") if isinstance(given, Mapping) else given, f"messages[{n}].content")
    raise bad_request(
        f"message {n} holds a part of type {kind!r}; it takes text{' and pictures' if pictures else ''} only",
        f"messages[{n}].content", "unsupported_content",
    )  # fmt: skip


def picture(url: Any, place: str) -> dict[str, Any]:
    """The part that shows a picture. Raises ApiError (400) for one that does not come with the call."""
    if not isinstance(url, str) or not PICTURE.fullmatch(url):
        raise bad_request(
            f"a picture in {place} must be a data: URL (PNG, JPEG, GIF, WebP): this box fetches nothing",
            place, "unsupported_content",
        )  # fmt: skip
    return {"type": "image_url", "image_url": {"url": url}}


def joined(parts: list[dict[str, Any]]) -> Any:
    """The content of a message: a text, or its parts where there are pictures among them."""
    if all(part["type"] == "text" for part in parts):
        return "\n".join(part["text"] for part in parts)
    return parts


def shown(parts: list[dict[str, Any]]) -> tuple[str, list[dict[str, Any]]]:
    """What a tool gave back: its text, and its pictures, which only a message of the user can show."""
    pictures = [part for part in parts if part["type"] != "text"]
    text = "\n".join(part["text"] for part in parts if part["type"] == "text")
    return text or (SHOWN_BELOW if pictures else ""), pictures


def _tool_call(call: Any, n: int) -> dict[str, Any]:
    function = call.get("function") if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping) or not function.get("name"):
        raise bad_request(f"a tool call in message {n} names no function", f"messages[{n}].tool_calls")
    arguments = function.get("arguments") or "{}"
    if not isinstance(arguments, str):
        arguments = orjson.dumps(arguments).decode()
    made = {"type": "function", "function": {"name": function["name"], "arguments": arguments}}
    return made | ({"id": call["id"]} if call.get("id") else {})


def _tools(payload: dict[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The tools of which one must be called; none when the model may choose."""
    choice = payload.get("tool_choice", "auto")
    tools = payload.get("tools")
    if tools is not None and not isinstance(tools, list):
        raise bad_request("`tools` must be a list", "tools")
    if not tools:
        if choice not in ("auto", "none"):
            raise bad_request("`tool_choice` needs `tools`", "tool_choice")
        for key in ("tools", "tool_choice", "parallel_tool_calls"):
            payload.pop(key, None)
        return ()
    if any(_function_name(tool) is None for tool in tools):
        raise bad_request("each tool must be a function with a name", "tools")
    if isinstance(choice, Mapping):
        wanted = _function_name(choice)
        named = [tool for tool in tools if _function_name(tool) == wanted]
        if not named:
            raise bad_request(f"`tool_choice` names {wanted!r}, which is not among the tools", "tool_choice")
        return named[:1]
    if choice not in ("auto", "none", "required"):
        raise bad_request(f"unknown `tool_choice` {choice!r}", "tool_choice")
    return tools if choice == "required" else ()


def _function_name(value: Any) -> str | None:
    """The function that a tool, or a choice of one, names."""
    function = value.get("function") if isinstance(value, Mapping) and value.get("type") == "function" else None
    name = function.get("name") if isinstance(function, Mapping) else None
    return name if isinstance(name, str) else None


def _response_format(payload: dict[str, Any]) -> None:
    wanted = payload.get("response_format")
    if wanted is None:
        return
    kind = wanted.get("type") if isinstance(wanted, Mapping) else None
    if kind == "text":
        del payload["response_format"]
    elif kind == "json_schema":
        wrapper = wanted.get("json_schema")
        if not isinstance(wrapper, Mapping) or not isinstance(wrapper.get("schema"), Mapping):
            raise bad_request("`response_format` lacks `json_schema.schema`", "response_format.json_schema")
    elif kind != "json_object":
        raise bad_request(f"unknown `response_format` {kind!r}", "response_format.type")
    if "response_format" in payload and "grammar" in payload:
        raise bad_request("give `grammar` or `response_format`, not both", "grammar")


def _characters(value: Any) -> int:
    """Characters of text in messages, prompts or inputs; a token id counts as a token."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, Mapping):
        if value.get("type") == "image_url":
            return PICTURE_CHARACTERS
        inner = ("content", "text", "tool_calls", "function", "arguments")
        return sum(_characters(value[key]) for key in inner if key in value)
    if isinstance(value, list):
        return sum(map(_characters, value))
    return CHARACTERS_PER_TOKEN if isinstance(value, int) else 0
