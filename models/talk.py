"""Asks a served model as any client would: chat, streams, vectors, ranks, over its engine's OpenAI-compatible HTTP."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from appliance.errors import FactoryError, Unavailable

Messages = Sequence[Mapping[str, Any]]
SILENCE_SECONDS = 600.0
"""How long an engine on a slow box may read a long prompt without a word."""
MAX_EVENTS = 200_000


class Refused(FactoryError):
    """The engine answered, but not with what was asked for."""


@dataclass(frozen=True)
class Reply:
    """What a model said to one request."""

    text: str
    finish: str
    thoughts: str = ""
    """What a model that thinks said before its answer."""
    calls: tuple[Mapping[str, Any], ...] = ()
    """Tool calls, as OpenAI's API shapes them."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    pieces: int = 0
    """Pieces of text in which a stream came."""
    ended: bool = True
    """Whether a stream ended with its end mark."""
    first_seconds: float = 0.0
    """From the request to the first piece of a stream."""
    seconds: float = 0.0


class Talk:
    """A model behind `url`, called `model` there. Raises Unavailable when the engine is gone, Refused as above."""

    def __init__(self, url: str, key: str, model: str, context_tokens: int, ca_file: str = "") -> None:
        """`context_tokens` is what one request may use there; `ca_file` is the CA that vouches for the engine.

        Raises:
            Unavailable: the CA's file cannot be used.
        """
        self.model = model
        self.context_tokens = context_tokens
        self._http = httpx.Client(
            base_url=url,
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(SILENCE_SECONDS, connect=5.0),
            verify=_trusting(ca_file) if ca_file else True,
            trust_env=False,
        )

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def chat(self, messages: Messages, max_tokens: int, **options: Any) -> Reply:
        """One whole answer; without chance unless `options` say otherwise."""
        started = time.monotonic()
        answer = self._post("/v1/chat/completions", self._body(messages, max_tokens, options))
        with _shaped():
            choice, usage = answer["choices"][0], answer.get("usage") or {}
            return Reply(
                text=choice["message"].get("content") or "",
                finish=choice.get("finish_reason") or "",
                thoughts=choice["message"].get("reasoning_content") or "",
                calls=tuple(choice["message"].get("tool_calls") or ()),
                prompt_tokens=int(usage.get("prompt_tokens") or 0),
                completion_tokens=int(usage.get("completion_tokens") or 0),
                seconds=time.monotonic() - started,
            )

    def stream(self, messages: Messages, max_tokens: int, **options: Any) -> Reply:
        """One answer as a stream, put together, with its times."""
        body = self._body(messages, max_tokens, options) | {"stream": True, "stream_options": {"include_usage": True}}
        started = time.monotonic()
        text, thoughts, finish, pieces, first, ended = "", "", "", 0, 0.0, False
        usage: dict[str, Any] = {}
        for event in self._events("/v1/chat/completions", body):
            if event is None:
                ended = True
                break
            with _shaped():
                usage = event.get("usage") or usage
                for choice in event.get("choices") or ():
                    delta = choice.get("delta") or {}
                    said, thought = delta.get("content") or "", delta.get("reasoning_content") or ""
                    finish = choice.get("finish_reason") or finish
                    if said or thought:
                        first = first or time.monotonic() - started
                        text, thoughts, pieces = text + said, thoughts + thought, pieces + 1
        return Reply(
            text=text,
            finish=finish,
            thoughts=thoughts,
            prompt_tokens=int(usage.get("prompt_tokens") or 0),
            completion_tokens=int(usage.get("completion_tokens") or 0),
            pieces=pieces,
            ended=ended,
            first_seconds=first,
            seconds=time.monotonic() - started,
        )

    def vectors(self, texts: Sequence[str]) -> list[list[float]]:
        """One vector for each text."""
        answer = self._post("/v1/embeddings", {"model": self.model, "input": list(texts), "encoding_format": "float"})
        with _shaped():
            rows = sorted(answer["data"], key=lambda row: int(row["index"]))
            return [[float(value) for value in row["embedding"]] for row in rows]

    def ranks(self, query: str, documents: Sequence[str]) -> list[float]:
        """How well each document answers the query."""
        answer = self._post("/v1/rerank", {"model": self.model, "query": query, "documents": list(documents)})
        with _shaped():
            rows = sorted(answer["results"], key=lambda row: int(row["index"]))
            return [float(row["relevance_score"]) for row in rows]

    def _body(self, messages: Messages, max_tokens: int, options: Mapping[str, Any]) -> dict[str, Any]:
        body = {"model": self.model, "messages": list(messages), "max_tokens": max_tokens, "temperature": 0.0}
        return {**body, **options}

    def _post(self, path: str, body: Mapping[str, Any]) -> Any:
        with _reached():
            response = self._http.post(path, json=body)
        _accepted(response)
        with _shaped():
            return response.json()

    def _events(self, path: str, body: Mapping[str, Any]) -> Iterator[dict[str, Any] | None]:
        """The events of a stream, then None for its end mark."""
        with _reached(), self._http.stream("POST", path, json=body) as response:
            if not response.is_success:
                response.read()
            _accepted(response)
            for n, line in enumerate(response.iter_lines()):
                if n > MAX_EVENTS:
                    raise Refused("the stream does not come to an end", "see the engine's log")
                if not line.startswith("data:"):
                    continue
                payload = line.removeprefix("data:").strip()
                if payload == "[DONE]":
                    yield None
                    return
                with _shaped():
                    event = json.loads(payload)
                    if "error" in event:
                        raise Refused(f"the stream broke off: {event['error']}", "see the engine's log")
                yield event


def _trusting(ca_file: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise Unavailable(f"the CA file {ca_file} cannot be used: {error}", "give a PEM file") from error


def _accepted(response: httpx.Response) -> None:
    if response.is_success:
        return
    try:
        said = str(response.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        said = response.text
    raise Refused(f"status {response.status_code}: {' '.join(said.split())[:200]}", "see the engine's log")


@contextmanager
def _reached() -> Iterator[None]:
    try:
        yield
    except httpx.ReadTimeout as error:
        raise Refused(
            f"no word within {SILENCE_SECONDS:g} s", "serve it with less context, or on more cores"
        ) from error
    except httpx.TransportError as error:
        raise Unavailable(
            f"the engine went away ({error or type(error).__name__})", "see its log; load the model and try again"
        ) from error


@contextmanager
def _shaped() -> Iterator[None]:
    try:
        yield
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise Refused(f"an answer has not the shape of the API ({error!r})", "see the engine's log") from error
