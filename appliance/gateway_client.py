"""The line's way to models: the port `Model` over HTTP, through the gateway, with a key like anybody else.

A gateway that is away or not ready is asked again with growing pauses until patience runs out; then the line hears
Unavailable and tries the stage again later. What the gateway refuses is not asked again.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any, Self

import httpx

from appliance.config import Home
from appliance.errors import FactoryError, LimitExceeded, NotFound, PolicyRefused, Unavailable, UsageError
from appliance.policy import Meaning
from appliance.ports import Clock, Completion, Embedded, Route, SystemClock
from appliance.sockets import short_name

BATCH = 32
"""Texts sent in one embeddings call."""
PIECE_CHARACTERS = (800, 400, 200, 100)
"""Longest text embedded in one piece; the next smaller is taken when a piece has more tokens than the model reads."""
MAX_PIECES = 16
"""Pieces of one text that count; what comes after adds little to a mean and costs as much."""
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0
BUSY = frozenset({429, 502, 503, 504})
"""Answers after which asking again may help."""
EPISODE = "x-appliance-episode"
TOO_LONG = "context_length_exceeded"


INSIDE = "http://localhost"
"""What the gateway is called where a socket in the home leads to it."""


class WayIn(httpx.HTTPTransport):
    """To the gateway of a home over `run/gateway.sock`, which the box's own user alone can open.

    The same whether the gateway's port speaks TLS or not: what the box asks itself hangs on no certificate and clock.
    """

    def __init__(self, home: Home) -> None:
        self._held = ExitStack()
        super().__init__(uds=self._held.enter_context(short_name(home.gateway_socket)))

    def close(self) -> None:
        """Close all connections."""
        super().close()
        self._held.close()


class GatewayModel:
    """Models behind the gateway at `url`. Safe to use from several threads."""

    def __init__(
        self,
        url: str,
        key: str,
        patience_seconds: float = 60.0,
        timeout_seconds: float = 630.0,
        clock: Clock | None = None,
        batch: bool = False,
        way: httpx.BaseTransport | None = None,
    ) -> None:
        """`patience_seconds` bounds the time of asking again; `timeout_seconds` the silence within one answer.

        With `batch` chats let those of others go first.
        """
        self._patience = patience_seconds
        self._about = {"priority": "batch"} if batch else {}
        self._work: dict[str, str] = {}
        self._clock = clock or SystemClock()
        self._http = httpx.Client(
            base_url=url,
            headers={"Authorization": f"Bearer {key}"},
            timeout=httpx.Timeout(timeout_seconds, connect=5.0),
            transport=way,
            trust_env=False,  # a proxy of the environment has no business between the line and its gateway
        )

    @classmethod
    def of_the_line(cls, home: Home, patience_seconds: float = 60.0, batch: bool = False) -> Self:
        """Asks the box's own gateway, with the line's key."""
        key = (home.secrets / "line.key").read_text(encoding="ascii").strip()
        return cls(INSIDE, key, patience_seconds, batch=batch, way=WayIn(home))

    def about(self, **said: str) -> Self:
        """The same way to models for one piece of work: its calls say what they are for (`repo`, `item`, `stage`), so
        that rules may look at it and tokens are counted there. Connections are shared: only the first is closed."""
        other = copy.copy(self)
        other._work = {name: value for name, value in said.items() if value}
        return other

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """See ports.Model. A text longer than the model reads is the mean of its pieces."""
        return self._embed(texts)[0]

    def embedded(self, texts: Sequence[str]) -> Embedded:
        """See ports.Embedder."""
        vectors, made_by = self._embed(texts)
        if len(made_by) != 1:
            raise Unavailable("not one model made the vectors", "ask again in a moment")
        (model,) = made_by
        return Embedded(vectors, model, self._digest(model))

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
        body: dict[str, Any] = {
            "model": model, "messages": list(messages), "max_tokens": max_tokens, "temperature": temperature,
            "metadata": {"task": task, **self._about, **self._work},
        }  # fmt: skip
        body |= ({"stop": list(stop)} if stop else {}) | ({"seed": seed} if seed is not None else {})
        started = time.monotonic()
        answer = self._send("POST", "/v1/chat/completions", body, {EPISODE: episode} if episode else {})
        choice, usage = answer["choices"][0], answer.get("usage") or {}
        return Completion(
            text=choice["message"].get("content") or "",
            model=answer["model"],
            digest=self._digest(answer["model"]),
            prompt_tokens=int(usage.get("prompt_tokens") or 0),
            completion_tokens=int(usage.get("completion_tokens") or 0),
            finish_reason=choice.get("finish_reason") or "stop",
            seconds=time.monotonic() - started,
        )

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
        asked: dict[str, Any] = {
            "task": task, "stage": stage, "language": language, "prompt_tokens": prompt_tokens, "repo": repo,
            "severity": severity, "attempt": attempt,
        }  # fmt: skip
        if meaning is not None:
            asked["meaning"] = meaning.model_dump()
        answer = self._post("/v1/route", asked)
        known = {name: answer[name] for name in Route.model_fields if name in answer}
        return Route.model_validate(known)

    def models(self, task: str) -> dict[str, str]:
        """The models that serve a task: id → the beginning of the SHA-256 of its weights."""
        listed = self._send("GET", "/v1/models", None)["data"]
        return {one["id"]: str(one.get("sha256") or "")[:12] for one in listed if task in one.get("tasks", ())}

    def _digest(self, model: str) -> str:
        """The beginning of the model's SHA-256. Not kept: a model may be replaced under its name."""
        digest: str = self._send("GET", f"/v1/models/{model}", None).get("sha256") or ""
        return digest[:12]

    def _embed(self, texts: Sequence[str]) -> tuple[list[list[float]], set[str]]:
        """The vectors, and the ids of the models that made them."""
        vectors: list[list[float]] = []
        made_by: set[str] = set()
        for first in range(0, len(texts), BATCH):
            vectors += self._embed_some(texts[first : first + BATCH], made_by)
        return vectors, made_by

    def _embed_some(self, texts: Sequence[str], made_by: set[str]) -> list[list[float]]:
        refusal: FactoryError | None = None
        for limit in PIECE_CHARACTERS:
            cut = [pieces(text, limit) for text in texts]
            try:
                vectors = self._vectors([piece for parts in cut for piece in parts], made_by)
            except LimitExceeded as error:
                refusal = error
                continue
            rows = iter(vectors)
            return [mean([(len(part), next(rows)) for part in parts]) for parts in cut]
        assert refusal is not None
        raise refusal

    def _vectors(self, inputs: Sequence[str], made_by: set[str]) -> list[list[float]]:
        vectors: list[list[float]] = []
        for first in range(0, len(inputs), BATCH):
            body: dict[str, Any] = {
                "model": "auto", "input": inputs[first : first + BATCH], "encoding_format": "float",
            }  # fmt: skip
            if self._work:
                body["metadata"] = self._work
            answer = self._post("/v1/embeddings", body)
            made_by.add(answer["model"])
            rows = sorted(answer["data"], key=lambda row: int(row["index"]))
            vectors += [row["embedding"] for row in rows]
        if len(vectors) != len(inputs):
            raise Unavailable("the gateway gave fewer vectors than texts", "see the log of the gateway")
        return vectors

    def _post(self, path: str, body: Mapping[str, Any]) -> Any:
        return self._send("POST", path, body)

    def _send(
        self, method: str, path: str, body: Mapping[str, Any] | None, headers: Mapping[str, str] | None = None
    ) -> Any:
        """The answer. Raises what `refusal_of` makes of a refusal; Unavailable when patience runs out."""
        until = self._clock.monotonic() + self._patience
        pause = FIRST_PAUSE
        while True:
            asked = 0.0
            try:
                response = self._http.request(method, path, json=body, headers=headers)
                if response.is_success:
                    return response.json()
                error = refusal_of(response)
                asked = _seconds(response.headers.get("retry-after"))
                if response.status_code not in BUSY:
                    raise error
            except (httpx.TransportError, ValueError) as failure:
                error = Unavailable(
                    f"the gateway does not answer ({failure or type(failure).__name__})",
                    "`appliance status` shows whether it runs",
                )
            wait = max(pause, min(asked, LONGEST_PAUSE))
            if self._clock.monotonic() + wait > until:
                raise error
            self._clock.sleep(wait)
            pause = min(2 * pause, LONGEST_PAUSE)


def refusal_of(response: httpx.Response) -> FactoryError:
    """The error an answer of the gateway stands for."""
    try:
        shape = response.json()["error"]
        message, code = str(shape["message"]), str(shape.get("code"))
    except (ValueError, KeyError, TypeError):
        message, code = f"status {response.status_code}", ""
    message = f"the gateway says: {message}"
    match response.status_code:
        case 404:
            return NotFound(message, "`appliance model list` shows the models; `appliance route explain` the rules")
        case 401 | 403:
            return PolicyRefused(message, "`appliance init` makes the line's own key; then restart the line")
        case 400 | 413 | 422 if code == TOO_LONG or response.status_code == 413:
            return LimitExceeded(message, "send less, or import a model with a longer context")
        case status if status in BUSY or status >= 500:
            return Unavailable(message, "`appliance status` and the log of the gateway say more")
    return UsageError(message, "this is a fault of the caller; the log of the gateway has the request's id")


def pieces(text: str, limit: int) -> list[str]:
    """The text cut at blanks into parts of at most `limit` characters, the first MAX_PIECES of them; never none.

    >>> pieces("one two three", 8)
    ['one two', 'three']
    """
    rest = text.strip()
    found: list[str] = []
    while len(rest) > limit and len(found) < MAX_PIECES:
        blank = rest.rfind(" ", 1, limit + 1)
        cut = blank if blank > limit // 2 else limit
        found.append(rest[:cut].strip())
        rest = rest[cut:].strip()
    found = [part for part in [*found, rest][:MAX_PIECES] if part]
    return found or [" "]


def mean(weighted: Sequence[tuple[int, Sequence[float]]]) -> list[float]:
    """The weighted mean of vectors, of unit length. Raises Unavailable for vectors without a direction."""
    summed = [0.0] * len(weighted[0][1])
    for weight, vector in weighted:
        for n, value in enumerate(vector):
            summed[n] += weight * value
    length = math.sqrt(sum(value * value for value in summed))
    if not length > 0 or not math.isfinite(length):
        raise Unavailable("the embedding model gave a vector without a direction", "`appliance model verify` checks it")
    return [value / length for value in summed]


def _seconds(text: str | None) -> float:
    return float(text) if text and text.isdigit() else 0.0
