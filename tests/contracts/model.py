"""The fake of the port `Model`: says what a test wrote down, and keeps to the contract of the real one."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from appliance.errors import LimitExceeded, NotFound, Unavailable
from appliance.policy import Meaning
from appliance.ports import Completion, Embedded, Route

DIMENSION = 16
Script = str | Exception | Callable[[Sequence[Mapping[str, str]]], str]


@dataclass(frozen=True)
class Call:
    """One call of `chat`, as it came."""

    messages: tuple[Mapping[str, str], ...]
    options: Mapping[str, Any]

    @property
    def text(self) -> str:
        return "\n".join(message["content"] for message in self.messages)


class ScriptedModel:
    """Answers in turn from a script; the last entry stays. An entry is a text, an error, or a function of the messages.

    A token is a word with the white space after it, so that limits can be counted by hand.
    """

    def __init__(
        self,
        *script: Script,
        name: str = "scripted",
        context_tokens: int = 1_000_000,
        routes: Mapping[str, tuple[str, ...]] | None = None,
    ) -> None:
        self.script = list(script)
        self.name = name
        self.context_tokens = context_tokens
        self.routes = dict(routes or {"repair": (name,), "embedding": (name,)})
        self.calls: list[Call] = []

    def about(self, **_said: str) -> ScriptedModel:
        """See GatewayModel: the calls of a script say nothing of what they are for."""
        return self

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """See ports.Model: the words of a text decide its direction."""
        return [_direction(text) for text in texts]

    def embedded(self, texts: Sequence[str]) -> Embedded:
        """See ports.Embedder."""
        return Embedded(self.embed(texts), self.name, hashlib.sha256(self.name.encode()).hexdigest()[:12])

    def chat(
        self,
        messages: Sequence[Mapping[str, str]],
        *,
        task: str,
        model: str = "auto",
        max_tokens: int = 1024,
        temperature: float = 0.0,
        stop: Sequence[str] = (),
        seed: int | None = None,
        episode: str = "",
    ) -> Completion:
        """See ports.Model."""
        options = {
            "task": task, "model": model, "max_tokens": max_tokens, "temperature": temperature, "stop": tuple(stop),
            "seed": seed, "episode": episode,
        }  # fmt: skip
        self.calls.append(Call(tuple(dict(message) for message in messages), options))
        if model not in ("auto", self.name) or (model == "auto" and task not in self.routes):
            raise NotFound(f"there is no model {model} for {task}", "name one that there is")
        asked = sum(len(_tokens(message["content"])) for message in messages)
        if asked + min(max_tokens, 1) > self.context_tokens:
            raise LimitExceeded(f"{asked} tokens are more than {self.context_tokens}", "send less")
        if not self.script:
            raise Unavailable("the script is empty", "write an answer")
        entry = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(entry, Exception):
            raise entry
        return self._completed(entry(messages) if callable(entry) else entry, asked, max_tokens, stop)

    def route(
        self,
        *,
        task: str,
        stage: str = "",
        language: str = "",
        prompt_tokens: int = 0,
        repo: str = "",
        severity: int = 0,
        attempt: int = 0,
        meaning: Meaning | None = None,
    ) -> Route:
        """See ports.Model."""
        if task not in self.routes:
            raise NotFound(f"no rule names a model for {task}", "write one")
        return Route(candidates=self.routes[task], rule=f"scripted {task}", reasons=())

    def _completed(self, text: str, asked: int, max_tokens: int, stop: Sequence[str]) -> Completion:
        cut = min((text.index(mark) for mark in stop if mark in text), default=len(text))
        words = _tokens(text[:cut])
        return Completion(
            text="".join(words[:max_tokens]),
            model=self.name,
            digest=hashlib.sha256(self.name.encode()).hexdigest()[:12],
            prompt_tokens=asked,
            completion_tokens=min(len(words), max_tokens),
            finish_reason="length" if len(words) > max_tokens else "stop",
            seconds=0.001,
        )


def _tokens(text: str) -> list[str]:
    return re.findall(r"\S+\s*|\s+", text)


def _direction(text: str) -> list[float]:
    vector = [1e-3] * DIMENSION
    for word in re.findall(r"\w+", text.lower()):
        vector[int(hashlib.sha256(word.encode()).hexdigest(), 16) % DIMENSION] += 1.0
    length = math.hypot(*vector)
    return [value / length for value in vector]
