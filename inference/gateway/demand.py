"""Demanded tool calls (`tool_choice` names a function or says `required`), made certain by a JSON schema. Pure.

Engines treat a named function as `auto`, and let text come before a call that is required. So the call itself becomes
the answer's schema: the engine cannot write anything else, and what it wrote is turned back into a tool call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from inference.gateway.faults import bad_request

DEFINITIONS = ("$defs", "definitions")
ANYTHING: Mapping[str, Any] = {"type": "object"}


def demand_call(payload: dict[str, Any], tools: Sequence[Mapping[str, Any]]) -> None:
    """Make this call's answer a call of one of `tools`. Raises ApiError (400) beside a grammar."""
    if "grammar" in payload:
        raise bad_request("a demanded tool call and a `grammar` exclude one another", "grammar")
    for key in ("tools", "tool_choice", "parallel_tool_calls"):
        payload.pop(key, None)
    definitions: dict[str, Any] = {}
    forms = [_form(n, tool, definitions) for n, tool in enumerate(tools)]
    schema = forms[0] if len(forms) == 1 else {"anyOf": forms}
    if definitions:
        schema = {**schema, "$defs": definitions}
    payload["response_format"] = {"type": "json_schema", "json_schema": {"name": "call", "schema": schema}}
    payload["messages"] = _instructed(payload["messages"], tools)


def call_in(text: str, id: str) -> dict[str, Any] | None:
    """The tool call that an answer is; None when the answer was cut off before its end."""
    try:
        made = orjson.loads(text)
        name, arguments = made["name"], made["arguments"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None
    return {
        "id": id, "type": "function", "function": {"name": name, "arguments": orjson.dumps(arguments).decode()},
    }  # fmt: skip


def _form(n: int, tool: Mapping[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """The schema of a call of one tool. Its own definitions move to the schema's root, under names of their own."""
    function = tool["function"]
    parameters = function.get("parameters")
    if not isinstance(parameters, Mapping) or not parameters:
        parameters = ANYTHING
    for place in DEFINITIONS:
        inner = parameters.get(place)
        if isinstance(inner, Mapping):
            definitions.update({f"f{n}_{name}": _moved(value, n) for name, value in inner.items()})
    arguments = {key: _moved(value, n) for key, value in parameters.items() if key not in DEFINITIONS}
    return {
        "type": "object", "properties": {"name": {"const": function["name"]}, "arguments": arguments},
        "required": ["name", "arguments"], "additionalProperties": False,
    }  # fmt: skip


def _moved(schema: Any, n: int) -> Any:
    """A part of a tool's schema with its references pointing to the root's definitions."""
    if isinstance(schema, Mapping):
        return {key: _reference(value, n) if key == "$ref" else _moved(value, n) for key, value in schema.items()}
    return [_moved(value, n) for value in schema] if isinstance(schema, list) else schema


def _reference(target: Any, n: int) -> Any:
    for place in DEFINITIONS:
        if isinstance(target, str) and target.startswith(f"#/{place}/"):
            return f"#/$defs/f{n}_{target.removeprefix(f'#/{place}/')}"
    return target


def _instructed(messages: list[dict[str, Any]], tools: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The messages with the tools described in the first, system one, as the engine no longer gets them otherwise."""
    described = orjson.dumps([tool["function"] for tool in tools]).decode()
    text = (
        'Call one of these functions now. Answer with JSON alone, as {"name": ..., "arguments": {...}}.\n'
        f"Functions: {described}"
    )
    if messages[0]["role"] == "system":
        return [{**messages[0], "content": f"{messages[0]['content']}\n\n{text}"}, *messages[1:]]
    return [{"role": "system", "content": text}, *messages]
