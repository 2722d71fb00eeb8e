"""What a kind of engine has to tell: the command that serves a model, and how to see that it does."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

from inference.engines.needs import Need, Wish
from inference.lifecycle import Patience
from models.card import Card
from models.shape import Shape


class Adapter(NamedTuple):
    """A LoRA adapter, served beside its base as a model of its own."""

    name: str
    folder: Path
    sha256: str
    """Of its files: another one may come under the same name."""


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

    cache_bytes: int = 0
    """Memory for keys and values, for engines that must be told."""
    nodes: int = 1
    """Machines that it is spread over."""
    adapters: tuple[Adapter, ...] = ()

    @property
    def url(self) -> str:
        """Where it answers, without the API's own path."""
        return self.card.remote.url if self.card.remote else f"http://127.0.0.1:{self.port}"

    @property
    def ca_file(self) -> str:
        """The CA whose certificate it shows; "" for none, or for one of the machine's."""
        return self.card.remote.ca_file if self.card.remote else ""

    @property
    def served_as(self) -> str:
        """The name by which it knows the model."""
        return self.card.remote.name if self.card.remote else self.card.id


class Engine(Protocol):
    """One kind of inference server. Stateless: everything it needs is in the seat."""

    kind: str
    formats: frozenset[str]
    """Formats of models it can serve, as in `Card.format`."""
    local: bool
    """Whether it is a process of this machine, which takes threads and memory here."""
    telling: tuple[str, ...]
    """Phrases of its log lines that say why it ended, the best first, for what `explain` does not know."""
    death_signal: signal.Signals
    """What the kernel sends it should the engines process die."""

    def argv(self, seat: Seat) -> tuple[str, ...] | None:
        """The command; None when nothing is started here. Raises Unavailable when the server is not installed."""
        ...

    def key(self, card: Card) -> str:
        """The key that it wants; "" when it takes the one it is given. Raises Unavailable when it cannot be read."""
        ...

    def patience(self, usual: Patience) -> Patience:
        """How long to wait for it and how often to look."""
        ...

    def explain(self, said: str) -> str:
        """Why it ended, by the end of its log; "" when that does not tell."""
        ...

    def env(self, seat: Seat) -> Mapping[str, str]:
        """The whole environment of the command."""
        ...

    def answers(self, seat: Seat) -> bool:
        """True when it has just produced a real token or a real vector. Ends within seconds.

        Raises Unavailable with the reason where one is known.
        """
        ...

    def alive(self, seat: Seat) -> bool:
        """Whether one that was ready still listens; it may be busy. As `answers` in all else."""
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


@dataclass(frozen=True)
class Rest:
    """What an engine keeps while it sleeps."""

    ram: int
    """Bytes of RAM, in which its weights sleep."""
    gpu: int
    """Bytes on each of its GPUs."""


@runtime_checkable
class Sleeper(Protocol):
    """A kind that can give back most of its GPUs' memory without ending, and take it again within seconds."""

    def rest(self, seat: Seat, shape: Shape | None, gpus: int) -> Rest | None:
        """What it keeps; None when it cannot sleep as it is served there."""
        ...

    def sleep(self, seat: Seat) -> None:
        """Finish what is in flight and fall asleep; returns once it does. Raises Unavailable with the reason."""
        ...

    def wake(self, seat: Seat) -> None:
        """Wake up; returns once it has its memory again. Raises Unavailable with the reason."""
        ...
