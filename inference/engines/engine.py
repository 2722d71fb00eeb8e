"""What a kind of engine has to tell: the command that serves a model, and how to see that it does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from inference.engines.needs import Need, Wish
from models.card import Card
from models.shape import Shape


@dataclass(frozen=True)
class Seat:
    """Where and with what one model is served."""

    card: Card
    weights: Path
    port: int
    key: str
    """What the engine wants in `Authorization: Bearer`, so that nobody passes by the gateway."""
    key_file: Path
    threads: int
    slots: int
    """Requests served at once."""
    context_tokens: int
    """Context of each request."""
    scratch: Path
    """A folder the engine may write to."""
    cache_type: str = "f16"
    """How it keeps keys and values; a name of `needs.CACHE_BYTES`."""
    gpus: tuple[int, ...] = ()
    """Numbers of the GPUs it is to use; none for RAM."""
    gpu_share: float = 0.0
    """Share of each GPU's memory it may take, for engines that take all they may; 0 where that is not known."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


class Engine(Protocol):
    """One kind of inference server. Stateless: everything it needs is in the seat."""

    kind: str
    formats: frozenset[str]
    """Formats of models it can serve, as in `Card.format`."""
    telling: tuple[str, ...]
    """Phrases of its log lines that say why it ended, the best first."""

    def argv(self, seat: Seat) -> tuple[str, ...]:
        """The command. Raises Unavailable when the server is not installed."""
        ...

    def env(self, seat: Seat) -> Mapping[str, str]:
        """The whole environment of the command."""
        ...

    def answers(self, seat: Seat) -> bool:
        """True when it has just produced a real token or a real vector. Ends within seconds."""
        ...

    def busy(self, seat: Seat) -> bool:
        """True while it works on a request. Ends within seconds."""
        ...

    def on_gpu(self) -> bool:
        """Whether it computes on GPUs; else all of a model is in RAM."""
        ...

    def need(self, card: Card, shape: Shape | None, wish: Wish, gpus: int) -> Need:
        """Memory it will take: in RAM for no GPUs, else on each of so many. `shape` is None where no file tells it.

        Raises UsageError when it cannot serve a model so.
        """
        ...
