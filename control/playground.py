"""The playground: what a person asks one model through the gateway, and its answer piece by piece with its figures.

The gateway is asked like by anybody, with a key of the playground's own; the person's name goes along, so that usage
lines say who asked. Nothing of a conversation is kept here: the page carries it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import httpx
from pydantic import Field, TypeAdapter, ValidationError

from appliance.config import Home
from appliance.errors import FactoryError, PolicyRefused, Unavailable, UsageError
from appliance.gateway_client import INSIDE, WayIn, refusal_of
from appliance.settings import GatewaySettings
from appliance.work import Noun
from control.access import PLAYGROUND

AUTO = "auto"
WRITING = ("chat", "repair", "review", "triage")
"""Tasks of models that write, the first that a model may do is what it is asked for."""
LONGEST_ANSWER = 8192
"""Most tokens of one answer."""
LEAST_FOR_A_RATE = 10
"""Tokens of an answer below which no rate is said: the few arrive together, and their rate would be the network's."""
MOST_TURNS = 200
SLACK_SECONDS = 15.0
"""Longer than the gateway's own patience, so that it is the gateway that says what took too long."""


class Turn(Noun):
    """One message of a conversation."""

    role: Literal["user", "assistant"]
    content: str = Field(max_length=400_000)


class Asked(Noun):
    """One question to one model, with what was said before it."""

    model: str = Field(min_length=1, max_length=200)
    task: str = "chat"
    words: str
    turns: tuple[Turn, ...] = ()
    system: str = ""
    most_tokens: int = 512
    temperature: float = 0.7

    def body(self, person: str) -> dict[str, Any]:
        """The chat completion that is asked for."""
        first = [{"role": "system", "content": self.system}] if self.system else []
        said = [turn.model_dump() for turn in self.turns]
        return {
            "model": self.model, "messages": [*first, *said, {"role": "user", "content": self.words}],
            "max_tokens": self.most_tokens, "temperature": self.temperature, "stream": True,
            "stream_options": {"include_usage": True}, "metadata": {"task": self.task, "person": person},
        }  # fmt: skip


class Piece(Noun):
    """Words of an answer as they come; both empty: it is still being waited for."""

    text: str = ""
    thought: str = Field("", description="what a model says to itself before it answers")


class Figures(Noun):
    """What an answer took, measured here: waiting in line and loading of the model included."""

    model: str
    route: str = Field(description="the rule that chose the model, and why")
    finish: str = Field(description="stop, or length when `most_tokens` ended it")
    prompt_tokens: int
    completion_tokens: int
    first_token_seconds: float | None
    tokens_per_second: float | None = Field(description="of the tokens after the first; None for few")
    seconds: float


class Answer(Noun):
    """A whole answer, or why there is none."""

    text: str = ""
    thought: str = ""
    figures: Figures | None = None
    problem: str = ""


_TURNS = TypeAdapter(tuple[Turn, ...])


def asked_of(form: Mapping[str, str], side: str, tasks: Mapping[str, tuple[str, ...]]) -> Asked:
    """What a form asks of the model on one side; `tasks` says what each model may do.

    Raises UsageError for a question without words, numbers out of range, or turns that are none.
    """
    words = form.get("words", "").strip()
    if not words:
        raise UsageError("there is no question", "write one, then send it")
    model = form.get(side, "")
    try:
        turns = _TURNS.validate_json(form.get(f"{side}_turns") or "[]")
    except ValidationError as error:
        raise UsageError("what was said before cannot be read", "begin a new conversation") from error
    if len(turns) > MOST_TURNS:
        raise UsageError(f"the conversation has more than {MOST_TURNS} turns", "begin a new one")
    may = tasks.get(model, WRITING[:1])
    return Asked(
        model=model, words=words, turns=turns, system=form.get("system", "").strip(),
        task=next((task for task in WRITING if task in may), WRITING[0]),
        most_tokens=int(_number(form, "most_tokens", 512, 1, LONGEST_ANSWER)),
        temperature=_number(form, "temperature", 0.7, 0, 2),
    )  # fmt: skip


def _number(form: Mapping[str, str], name: str, usual: float, least: float, most: float) -> float:
    given = form.get(name, "").strip()
    try:
        value = float(given) if given else usual
    except ValueError:
        value = most + 1
    if not least <= value <= most:
        raise UsageError(f"{name.replace('_', ' ')}: {given[:40]!r} is not from {least:g} to {most:g}", "mend it")
    return value


def key_of(home: Home) -> str:
    """The playground's key. Raises Unavailable when there is none."""
    try:
        return (home.secrets / f"{PLAYGROUND}.key").read_text(encoding="ascii").strip()
    except OSError as error:
        raise Unavailable("the playground has no key to the gateway", "`appliance init` makes it") from error


def converse(home: Home, settings: GatewaySettings, asked: Asked, person: str) -> Iterator[Piece | Figures]:
    """Ask, and tell the answer as it comes: pieces, then its figures. Closing it ends the call.

    Raises what the gateway's refusal stands for; Unavailable when it is away or the answer breaks off.
    """
    timeout = httpx.Timeout(settings.request_timeout_seconds + SLACK_SECONDS, connect=5.0)
    headers = {"Authorization": f"Bearer {key_of(home)}"}
    telling = _Telling(asked.model)
    try:
        with (
            httpx.Client(base_url=INSIDE, transport=WayIn(home), timeout=timeout, trust_env=False) as http,
            http.stream("POST", "/v1/chat/completions", json=asked.body(person), headers=headers) as response,
        ):
            if not response.is_success:
                response.read()
                raise _refusal(response)
            telling.route = response.headers.get("x-appliance-route", "")
            for line in response.iter_lines():
                if line.startswith(":"):
                    yield Piece()
                elif line.startswith("data:") and (piece := telling.take(line[5:].strip())):
                    yield piece
    except httpx.HTTPError as error:
        raise Unavailable(
            f"the gateway does not answer ({str(error) or type(error).__name__})",
            "`appliance status` shows whether it runs",
        ) from error
    yield telling.figures()


def whole(home: Home, settings: GatewaySettings, asked: Asked, person: str) -> Answer:
    """The whole answer at once; a refusal is its problem."""
    text, thought, figures = [], [], None
    try:
        for told in converse(home, settings, asked, person):
            if isinstance(told, Figures):
                figures = told
            else:
                text.append(told.text)
                thought.append(told.thought)
    except FactoryError as error:
        return Answer(text="".join(text), thought="".join(thought), problem=in_words(error))
    return Answer(text="".join(text), thought="".join(thought), figures=figures)


def in_words(error: FactoryError) -> str:
    """A refusal with its remedy."""
    return f"{error.message} ({error.hint})" if error.hint else error.message


def _refusal(response: httpx.Response) -> FactoryError:
    error = refusal_of(response)
    if response.status_code == 401:
        return PolicyRefused(error.message, "`appliance init` makes the playground a new key")
    if response.status_code == 403:
        return PolicyRefused(error.message, f"`appliance key show {PLAYGROUND}` says what its key may do")
    return error


class _Telling:
    """Reads the chunks of one stream."""

    def __init__(self, model: str) -> None:
        self.route = ""
        self._model, self._finish = model, ""
        self._usage: Mapping[str, Any] = {}
        self._began = time.monotonic()
        self._first = self._last = 0.0

    def take(self, payload: str) -> Piece | None:
        """The words of a chunk, if it has some. Raises Unavailable for a failure in the stream."""
        if payload == "[DONE]":
            return None
        try:
            chunk = json.loads(payload)
            if "error" in chunk:
                raise Unavailable(f"the answer broke off: {chunk['error']['message']}", "ask again")
            self._model, self._usage = chunk.get("model") or self._model, chunk.get("usage") or self._usage
            choice = (chunk.get("choices") or [{}])[0]
            said = choice.get("delta") or {}
            self._finish = choice.get("finish_reason") or self._finish
            piece = Piece(text=said.get("content") or "", thought=said.get("reasoning_content") or "")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Unavailable("the answer cannot be read", "the log of the gateway says more") from error
        if not (piece.text or piece.thought):
            return None
        self._last = time.monotonic()
        self._first = self._first or self._last
        return piece

    def figures(self) -> Figures:
        """Raises Unavailable when the stream ended before the answer did."""
        if not self._finish:
            raise Unavailable("the answer broke off", "ask again")
        own, spoken = int(self._usage.get("completion_tokens") or 0), self._last - self._first
        return Figures(
            model=self._model, route=self.route, finish=self._finish,
            prompt_tokens=int(self._usage.get("prompt_tokens") or 0), completion_tokens=own,
            first_token_seconds=round(self._first - self._began, 3) if self._first else None,
            tokens_per_second=round((own - 1) / spoken, 1) if own >= LEAST_FOR_A_RATE and spoken > 0 else None,
            seconds=round(time.monotonic() - self._began, 3),
        )  # fmt: skip
