"""Models that another OpenAI-compatible server on the network holds: another box, a cluster that is there already.

Nothing is started here. It is ready once it has produced a real token, and looked at again and again after that; when
it is away it counts as failed, with the reason, and is tried again for as long as somebody wants it.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from appliance.errors import Unavailable, UsageError
from inference.engines.asking import ALIVE_SECONDS, ask, fetch, is_ranking, is_vector
from inference.engines.engine import Seat
from inference.engines.needs import Need, Wish
from inference.lifecycle import Patience
from models.card import Card, Remote
from models.shape import Shape

ALWAYS = 1 << 30
"""Starts that may fail in a row: a server that is off for a weekend is found again on Monday."""
LENGTHS = ("max_model_len", "context_length", "context_window", "n_ctx")
"""Where servers tell the context of a model in their list."""


class RemoteServer:
    """Any OpenAI-compatible server, by its address."""

    kind = "remote"
    formats = frozenset({"remote"})
    local = False
    death_signal = signal.SIGKILL
    telling: tuple[str, ...] = ()

    def argv(self, seat: Seat) -> tuple[str, ...] | None:  # noqa: ARG002 - one for all engines
        return None

    def env(self, seat: Seat) -> Mapping[str, str]:  # noqa: ARG002 - one for all engines
        return {}

    def key(self, card: Card) -> str:
        return read_key(card.remote.key_file) if card.remote else ""

    def patience(self, usual: Patience) -> Patience:
        return replace(
            usual, start_seconds=min(40.0, usual.start_seconds), drain_seconds=0.0, restart_limit=ALWAYS,
            alive_seconds=3.0, alive_misses=2,
        )  # fmt: skip

    def explain(self, said: str) -> str:  # noqa: ARG002 - one for all engines
        return ""

    def answers(self, seat: Seat) -> bool:
        name = seat.served_as
        if seat.card.ranks:
            return is_ranking(ask(seat, "/v1/rerank", {"query": "a", "documents": ["a"], "model": name}))
        if seat.card.embeds:
            return is_vector(ask(seat, "/v1/embeddings", {"input": "ready", "model": name}))
        hello = [{"role": "user", "content": "1"}]
        answer = ask(seat, "/v1/chat/completions", {"messages": hello, "max_tokens": 1, "model": name})
        return bool(answer.get("choices"))

    def alive(self, seat: Seat) -> bool:
        return bool(fetch(seat, "GET", "/v1/models", seconds=ALIVE_SECONDS))

    def busy(self, seat: Seat) -> bool:  # noqa: ARG002 - it goes on whether we use it or not
        return False

    def on_gpu(self) -> bool:
        return False

    def need(self, card: Card, shape: Shape | None, wish: Wish, gpus: int) -> Need:  # noqa: ARG002 - nothing, here
        return Need()


@dataclass(frozen=True)
class Offer:
    """One model that a server has."""

    name: str
    context_tokens: int = 0
    """0 when the server does not tell."""


def checked_url(url: str) -> str:
    """The address of a server without the API's own path. Raises UsageError."""
    parts = urlsplit(url)
    try:
        port = parts.port  # raises for what is no port
    except ValueError:
        port = -1
    if parts.scheme not in ("http", "https") or not parts.hostname or port == -1 or parts.query or parts.username:
        raise UsageError(f"{url!r} is not the address of a server", "give http://HOST:PORT or https://HOST:PORT")
    return url.rstrip("/").removesuffix("/v1").rstrip("/")


def read_key(file: str) -> str:
    """The key in a file, "" for no file. Raises Unavailable."""
    if not file:
        return ""
    try:
        key = Path(file).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Unavailable(f"the key file {file} cannot be read: {error}", "correct it or its rights") from error
    if not key or len(key.split()) != 1:
        raise Unavailable(f"the key file {file} holds no key", "put the key alone into it, on one line")
    return key


def offers(remote: Remote) -> tuple[Offer, ...]:
    """The models the server has now. Raises Unavailable with the reason."""
    card = Card(
        id="remote", format="remote", architecture="", parameters=0, context_tokens=0, embedding_length=0,
        quantisation="", sha256="", size_bytes=0, tasks=(), remote=remote,
    )  # fmt: skip
    seat = Seat(card, Path(), 0, read_key(remote.key_file), Path(), 0, 0, 0, Path())
    answer = fetch(seat, "GET", "/v1/models")
    try:
        listed = json.loads(answer)["data"]
        return tuple(Offer(str(one["id"]), _context(one)) for one in listed)
    except (ValueError, KeyError, TypeError) as error:
        raise Unavailable(
            f"{remote.url}/v1/models does not list models", "is it an OpenAI-compatible server?"
        ) from error


def chosen(found: tuple[Offer, ...], name: str) -> Offer:
    """The offer with this name, or the only one there is. Raises UsageError."""
    if name:
        if match := next((offer for offer in found if offer.name == name), None):
            return match
    elif len(found) == 1:
        return found[0]
    names = ", ".join(offer.name for offer in found[:8]) or "none"
    said = f"no model {name!r}" if name else f"{len(found)} models"
    raise UsageError(f"the server has {said}", f"say with --name which one; it has {names}")


def _context(row: dict[str, Any]) -> int:
    meta = row.get("meta")
    found = [row.get(name) for name in LENGTHS] + ([meta.get("n_ctx_train")] if isinstance(meta, dict) else [])
    return next((value for value in found if type(value) is int and value > 0), 0)
