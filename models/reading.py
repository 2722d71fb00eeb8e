"""Judges what a model wrote: does it loop, does it leak marks of its template, does it keep to a schema. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

MARKS = re.compile(
    r"<\|[^|<>\n]{1,40}\|>|</?s>|<(?:start|end)_of_turn>|\[/?INST\]|<｜[^｜\n]{1,40}｜>|<(?:eos|bos|pad|unk)>"
)
"""Marks of chat templates, which no reader should ever see."""
GRAM = 6
"""Words in a row that do not come often in honest prose."""
LONG_ENOUGH = 40
"""Words below which repetition says nothing."""
MOST_REPEATED = 0.5
SHORTEST_PERIOD_SHOWN = 4
"""Times a piece of text must follow itself to be a loop."""

KINDS: Mapping[str, tuple[type, ...]] = {
    "object": (dict,), "array": (list,), "string": (str,), "integer": (int,), "number": (int, float),
    "boolean": (bool,), "null": (type(None),),
}  # fmt: skip


def loops(text: str) -> str:
    """How a text repeats itself; "" when it does not.

    >>> loops("and so on " * 30)
    'it says "and so on" again and again'
    """
    words = text.split()
    if tail := _period(text.rstrip()):
        return f'it says "{tail.strip()[:60]}" again and again'
    grams = [tuple(words[n : n + GRAM]) for n in range(len(words) - GRAM + 1)]
    if len(words) < LONG_ENOUGH:
        return ""
    repeated = 1 - len(set(grams)) / len(grams)
    return f"{repeated:.0%} of what it says was said before" if repeated > MOST_REPEATED else ""


def _period(text: str) -> str:
    """The piece that the end of the text consists of, SHORTEST_PERIOD_SHOWN times or more and over 24 characters."""
    for length in range(1, min(400, len(text) // SHORTEST_PERIOD_SHOWN) + 1):
        times = max(SHORTEST_PERIOD_SHOWN, -(-48 // length))
        piece = text[-length:]
        if times * length <= len(text) and text.endswith(piece * times):
            return _turned(text, piece)
    return ""


def _turned(text: str, piece: str) -> str:
    """The piece, begun where it began first, so that it reads as it was written."""
    start = len(text)
    while start >= len(piece) and text[start - len(piece) : start] == piece:
        start -= len(piece)
    while start > 0 and text[start - 1] == text[start - 1 + len(piece)]:
        start -= 1
    return text[start : start + len(piece)]


def leaked_mark(text: str) -> str:
    """The first mark of a chat template in it; "" for none."""
    found = MARKS.search(text)
    return found.group() if found else ""


def mismatch(text: str, schema: Mapping[str, Any]) -> str:
    """Why a text is not JSON that fits the schema; "" when it is and does."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        return f"it is not JSON: {error}"
    return misfit(value, schema)


def misfit(value: Any, schema: Mapping[str, Any], place: str = "the answer") -> str:
    """Why a value does not fit a schema of types, properties, items, enumerations and bounds; "" when it does."""
    kind = schema.get("type")
    if kind and (not isinstance(value, KINDS[kind]) or (isinstance(value, bool) and kind != "boolean")):
        return f"{place} is no {kind}"
    if "enum" in schema and value not in schema["enum"]:
        return f"{place} is {value!r}, none of {schema['enum']}"
    if isinstance(value, int | float) and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        return f"{place} is {value}, out of bounds"
    if isinstance(value, list):
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
            return f"{place} has {len(value)} entries"
        inner = (misfit(one, schema.get("items", {}), f"{place}[{n}]") for n, one in enumerate(value))
        return next((why for why in inner if why), "")
    return _misfit_object(value, schema, place) if isinstance(value, dict) else ""


def _misfit_object(value: Mapping[str, Any], schema: Mapping[str, Any], place: str) -> str:
    known = schema.get("properties", {})
    if missing := [name for name in schema.get("required", ()) if name not in value]:
        return f"{place} lacks {', '.join(missing)}"
    if schema.get("additionalProperties") is False and (more := sorted(set(value) - set(known))):
        return f"{place} has {', '.join(more)}, which nobody asked for"
    inner = (misfit(value[name], known[name], f"{place}.{name}") for name in known if name in value)
    return next((why for why in inner if why), "")
