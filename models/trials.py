"""What admission tries a model with: each trial asks, looks at the answer, and says whether it passed and what it saw.

A trial judges what the box relies on and no more: the engine's manners (streams, stops, schemas), the model's (it ends,
does not loop, keeps to a form), and the context it is served with. How good a model is at repair is for the line's
tests and for learning.
"""

from __future__ import annotations

import base64
import math
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from models.reading import leaked_mark, loops, mismatch
from models.score import Check
from models.talk import Messages, Reply, Talk

ANSWER_TOKENS = 1024
"""Room for an answer, thinking included, where the context allows it."""
CONTEXT_SHARE = 0.8
"""Part of the context that a prompt must fill to prove it."""
WORD = "marmalade"
"""Hidden at the beginning of a long prompt."""
LINE = "Entry {n:05}: the parcel was weighed, labelled and put on the shelf near the door."

SCHEMAS: Sequence[tuple[str, dict[str, Any]]] = (
    ("Describe a bug in a web shop whose totals are wrong. Severity is a number from 1 to 4.", {
        "type": "object", "additionalProperties": False, "required": ["title", "severity", "kind"],
        "properties": {
            "title": {"type": "string"}, "severity": {"type": "integer", "minimum": 1, "maximum": 4},
            "kind": {"type": "string", "enum": ["bug", "feature", "question"]},
        },
    }),
    ("List three files that a small Python package has.", {
        "type": "object", "additionalProperties": False, "required": ["files"],
        "properties": {"files": {"type": "array", "minItems": 1, "maxItems": 5, "items": {"type": "string"}}},
    }),
    ("Is 17 a prime number?", {
        "type": "object", "additionalProperties": False, "required": ["prime", "number"],
        "properties": {"prime": {"type": "boolean"}, "number": {"type": "integer"}},
    }),
)  # fmt: skip
PARAMETERS: dict[str, Any] = {
    "type": "object", "additionalProperties": False, "required": ["city"],
    "properties": {"city": {"type": "string"}, "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]}},
}  # fmt: skip
TOOL = {
    "type": "function",
    "function": {"name": "weather", "description": "The weather in a city now.", "parameters": PARAMETERS},
}


@dataclass(frozen=True)
class Judgement:
    """What became of one exercise."""

    problem: str = ""
    """Why the answer's form cannot be used; "" when it can."""
    right: bool = False


@dataclass(frozen=True)
class Exercise:
    """A task of the box in the form the box sets it, with its own judge."""

    name: str
    """The check it belongs to; several exercises make one check."""
    messages: Messages
    judge: Callable[[str], Judgement]


@dataclass
class Speeds:
    """What was measured on the way."""

    first_token: float | None = None
    tokens: float | None = None
    prompt_tokens: float | None = None


def chat(talk: Talk) -> Check:
    """A plain question gets its answer, which ends by itself."""
    reply = talk.chat(_ask("Name the capital of France in one short sentence."), _room(talk))
    said = f"{reply.completion_tokens} tokens, ended by {reply.finish or 'nothing'}: {_short(reply.text)}"
    return Check(name="chat", passed="paris" in reply.text.lower() and reply.finish == "stop", said=said)


def streaming(talk: Talk, speeds: Speeds) -> Check:
    """A stream comes in pieces, says why it ends, how much it cost, and that it has ended."""
    reply = talk.stream(_ask("Write one sentence about rain."), _room(talk))
    speeds.first_token = reply.first_seconds or None
    lacking = [
        what
        for what, there in (
            ("text", bool(reply.text.strip())), ("more than one piece", reply.pieces > 1),
            ("a reason to end", bool(reply.finish)), ("usage", reply.completion_tokens > 0),
            ("its end mark", reply.ended),
        )
        if not there
    ]  # fmt: skip
    said = f"it lacks {', '.join(lacking)}" if lacking else f"{reply.pieces} pieces, then the end"
    return Check(name="streaming", passed=not lacking, said=said)


def stop(talk: Talk) -> Check:
    """It obeys a stop text, ends by itself, and shows no mark of its template."""
    cut = talk.chat(_ask("Count from 1 to 20: 1, 2, 3"), _room(talk), stop=["9"])
    free = talk.chat(_ask("Say hello."), _room(talk))
    if "9" in cut.text:
        return Check(name="stop", passed=False, said="the stop text stands in the answer")
    if mark := leaked_mark(cut.text) or leaked_mark(free.text):
        return Check(name="stop", passed=False, said=f"the answer shows {mark}, a mark of the template")
    ended = free.finish == "stop"
    said = (
        "it obeys a stop text and ends by itself"
        if ended
        else f"a greeting went on for {free.completion_tokens} tokens"
    )
    return Check(name="stop", passed=ended, said=said)


def no_loops(talk: Talk, speeds: Speeds) -> Check:
    """A longer text does not repeat itself, without chance, which is where models loop first."""
    reply = talk.stream(_ask("Write ten sentences about the history of bread."), _room(talk))
    if reply.completion_tokens > 1 and reply.seconds > reply.first_seconds:
        speeds.tokens = (reply.completion_tokens - 1) / (reply.seconds - reply.first_seconds)
    how = loops(reply.thoughts) or loops(reply.text)
    said = how or f"{reply.completion_tokens} tokens without a loop"
    return Check(name="no_loops", passed=not how and bool(reply.text.strip()), said=said)


def json_schema(talk: Talk) -> Check:
    """Strict schemas are kept to."""
    for n, (question, schema) in enumerate(SCHEMAS):
        form = {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema}}
        reply = talk.chat(_ask(question), _room(talk), response_format=form)
        if why := mismatch(reply.text, schema):
            return Check(name="json_schema", passed=False, said=f"schema {n + 1} of {len(SCHEMAS)}: {why}")
    return Check(name="json_schema", passed=True, said=f"{len(SCHEMAS)} of {len(SCHEMAS)} schemas kept")


def tool_call(talk: Talk) -> Check:
    """It calls the tool it is given, with fitting arguments, and uses what comes back."""
    question = _ask("What is the weather in Lisbon now, in degrees Celsius? Use the tool.")
    reply = talk.chat(question, _room(talk), tools=[TOOL])
    if why := _wrong_call(reply):
        return Check(name="tool_call", passed=False, said=why)
    call = reply.calls[0]
    result = {"role": "tool", "tool_call_id": call.get("id") or "1", "content": '{"degrees": 21, "sky": "clear"}'}
    after = talk.chat(
        [*question, {"role": "assistant", "content": "", "tool_calls": [call]}, result], _room(talk), tools=[TOOL]
    )
    used = "21" in after.text
    said = "it called the tool and used the result" if used else f"it did not use the result: {_short(after.text)}"
    return Check(name="tool_call", passed=used, said=said)


def vision(talk: Talk) -> Check:
    """It tells the colour of a picture."""
    picture = {"type": "image_url", "image_url": {"url": red_square()}}
    words = {"type": "text", "text": "Which colour has this picture? Answer with one word."}
    reply = talk.chat([{"role": "user", "content": [words, picture]}], _room(talk))
    return Check(name="vision", passed="red" in reply.text.lower(), said=f"a red picture: {_short(reply.text)}")


def red_square(size: int = 64) -> str:
    """A PNG picture as a data URL: one chunk each for its size, its pixels and its end."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    pixels = zlib.compress((b"\0" + b"\xff\0\0" * size) * size)
    parts = ((b"IHDR", struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)), (b"IDAT", pixels), (b"IEND", b""))
    raw = b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)
    return f"data:image/png;base64,{base64.b64encode(raw).decode()}"


def context(talk: Talk, speeds: Speeds) -> Check:
    """A word from the beginning of a prompt that fills the context is found again."""
    size = talk.context_tokens
    room = min(256, size // 10)
    few = max(1, size // 512)
    probe = talk.chat(_haystack("First", few), 1)
    each = max(1.0, talk.chat(_haystack("First", 2 * few), 1).prompt_tokens - probe.prompt_tokens) / few
    lines = few + int(((size - room) * 0.98 - probe.prompt_tokens) / each)
    reply = talk.stream(_haystack("Second", max(1, lines)), room)
    if reply.first_seconds and reply.prompt_tokens:
        speeds.prompt_tokens = reply.prompt_tokens / reply.first_seconds
    filled = reply.prompt_tokens >= CONTEXT_SHARE * size
    found = WORD in reply.text.lower()
    memory = "its first word was found" if found else f"its first word was not: {_short(reply.text)}"
    said = f"a prompt of {reply.prompt_tokens} tokens in a context of {size}; {memory}"
    return Check(name="context", passed=filled and found, said=said)


def exercises(talk: Talk, name: str, given: Sequence[Exercise]) -> Check:
    """All exercises of one name: two of three must have a usable form, and more than half must be right."""
    judged = [one.judge(talk.chat(one.messages, _room(talk)).text) for one in given]
    usable = sum(not one.problem for one in judged)
    right = sum(one.right for one in judged)
    why = next((f"; first: {_short(one.problem)}" for one in judged if one.problem), "")
    passed = usable >= len(judged) - len(judged) // 3 and 2 * right > len(judged)
    said = f"usable form in {usable} of {len(judged)}, right in {right}{why}"
    return Check(name=name, passed=passed, said=said)


def vectors(talk: Talk, length: int) -> Check:
    """Vectors are whole, as long as the header says, alike for alike texts, and the same one by one as together."""
    texts = ["The cart shows a wrong total.", "The sum in the basket is not correct.", "Penguins live in the south."]
    together = talk.vectors(texts)
    alone = talk.vectors(texts[:1])[0]
    if len(together) != len(texts) or any(len(vector) != (length or len(alone)) for vector in together):
        said = f"{len(together)} vectors of {len(alone)} numbers, not {len(texts)} of {length}"
        return Check(name="vectors", passed=False, said=said)
    if not all(math.isfinite(value) for vector in together for value in vector) or not all(map(any, together)):
        return Check(name="vectors", passed=False, said="a vector is not finite or is nothing but zeros")
    near, far = _cosine(together[0], together[1]), _cosine(together[0], together[2])
    same = _cosine(alone, together[0])
    said = f"alike texts {near:.2f}, unlike ones {far:.2f}, alone and together {same:.3f}"
    return Check(name="vectors", passed=near > far and same > 0.99, said=said)


def ranking(talk: Talk) -> Check:
    """The document that answers comes first."""
    query = "How do I return an order?"
    documents = ["Penguins live in the south.", "Orders can be returned within 30 days.", "The sky is blue."]
    scores = talk.ranks(query, documents)
    first = len(scores) == len(documents) and max(range(len(scores)), key=scores.__getitem__) == 1
    return Check(name="ranking", passed=first, said=f"scores {', '.join(f'{score:.2f}' for score in scores)}")


def _ask(question: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": question}]


def _haystack(start: str, lines: int) -> list[dict[str, Any]]:
    """A prompt with the word at its beginning. `start` makes its first tokens differ, so that no cache answers."""
    body = "\n".join(LINE.format(n=n) for n in range(1, lines + 1))
    return _ask(
        f"{start} part. The secret word is {WORD}.\n{body}\nWhat is the secret word? Answer with that word alone."
    )


def _room(talk: Talk, wanted: int = ANSWER_TOKENS) -> int:
    return max(16, min(wanted, talk.context_tokens // 3))


def _wrong_call(reply: Reply) -> str:
    if not reply.calls:
        return f"it called no tool: {_short(reply.text)}"
    function = reply.calls[0].get("function")
    if not isinstance(function, Mapping) or function.get("name") != "weather":
        return f"it called {function!r}"[:120]
    arguments = str(function.get("arguments"))
    if why := mismatch(arguments, PARAMETERS):
        return f"its arguments do not fit: {why}"
    return "" if "lisbon" in arguments.lower() else f"it asked for another city: {_short(arguments)}"


def _cosine(one: Sequence[float], other: Sequence[float]) -> float:
    size = math.sqrt(math.fsum(a * a for a in one) * math.fsum(b * b for b in other))
    return math.fsum(a * b for a, b in zip(one, other, strict=True)) / size


def _short(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= 80 else f"{flat[:79]}…"
