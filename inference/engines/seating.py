"""Looks at a model that somebody wants loaded: who serves it, how, what it takes. Nothing is started here."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from appliance.errors import Unavailable, UsageError, VerificationFailed
from appliance.settings import ModelSettings, Settings
from inference.engines.adapters import adapters_of
from inference.engines.devices import Room
from inference.engines.engine import Engine, Seat, Sleeper
from inference.engines.lora import measured
from inference.engines.needs import Adapters, Need, Wish
from inference.engines.placement import Fit, Place, context_of, fit_memory, what_fits
from models.card import Card
from models.registry import Registry
from models.shape import Shape, read_shape

FILELESS = frozenset({"remote"})
"""Formats whose weights are on another machine."""


@dataclass(frozen=True)
class Options:
    """What an order says besides the settings; 0 and None leave those as they are."""

    context_tokens: int = 0
    slots: int = 0
    pin: bool | None = None


AS_SET = Options()


@dataclass(frozen=True)
class Candidate:
    """A model that could be loaded."""

    engine: Engine
    seat: Seat
    """As it would be served, without a port, a key, threads and GPUs yet."""
    shape: Shape | None
    settings: ModelSettings
    pinned: bool
    adapters: Adapters | None = None

    @property
    def card(self) -> Card:
        return self.seat.card

    @property
    def wish(self) -> Wish:
        return Wish(self.seat.slots, self.seat.context_tokens, self.seat.cache_type, self.adapters)

    def need(self, gpus: int = 0) -> Need:
        """What it takes; see `Engine.need`."""
        return self.engine.need(self.card, self.shape, self.wish, gpus)

    def fit(self, room: Room) -> Fit:
        """Whether and where it goes."""
        return self._fit(room, self.wish)

    def asleep(self, place: Place) -> Place | None:
        """What it would keep of its place on GPUs while it sleeps; None when its engine cannot sleep."""
        rest = self.engine.rest(self.seat, self.shape, len(place.gpus)) if isinstance(self.engine, Sleeper) else None
        if rest is None or not place.gpus:
            return None
        return Place(rest.ram, {number: min(rest.gpu, taken) for number, taken in place.gpus.items()})

    def longest_contexts(self, room: Room) -> dict[int, int]:
        """The longest context that would fit for each number of requests at once; 0 for none."""
        longest = self.card.context_tokens or self.seat.context_tokens
        return what_fits(longest, lambda wish: self._fit(room, wish).fits, self.wish)

    def seated(self, place: Place, room: Room) -> Seat:
        """The seat with its GPUs, and the share of them that its engine may take."""
        gpus = tuple(sorted(place.gpus))
        totals = {gpu.index: gpu.total for gpu in room.gpus}
        shares = [math.ceil(100 * place.gpus[n] / totals[n]) / 100 for n in gpus]
        share = self.settings.gpu_share or max(shares, default=0.0)
        return replace(self.seat, gpus=gpus, gpu_share=share, cache_bytes=self.need(len(gpus)).cache_bytes)

    def _fit(self, room: Room, wish: Wish) -> Fit:
        def needs(gpus: int) -> Need:
            return self.engine.need(self.card, self.shape, wish, gpus)

        own = self.settings
        return fit_memory(self.card.id, needs, room, self.engine.on_gpu(), own.gpus, own.gpu_share)


class Seating:
    """Makes candidates of the registry's models by the settings."""

    def __init__(self, registry: Registry, settings: Settings, kinds: Sequence[Engine], scratch: Path) -> None:
        self._registry = registry
        self._settings = settings
        self._kinds = tuple(kinds)
        self._scratch = scratch
        self._shapes: dict[str, tuple[object, Shape | None]] = {}

    def settings_of(self, id: str) -> ModelSettings:
        """The model's own section, or the defaults."""
        return self._settings.models.get(id, ModelSettings())

    def candidate(self, card: Card, options: Options = AS_SET) -> Candidate:
        """Checks in the order of their cost: engine, files, header, server.

        Raises:
            Unavailable: no engine serves the format, or it is not installed.
            VerificationFailed: the weights are not what the card says.
            UsageError: the engine cannot serve a model as the settings say.
        """
        if card.base:
            raise UsageError(
                f"{card.id} is an adapter, served with its base {card.base}", f"see `appliance model show {card.base}`"
            )
        engine = next((kind for kind in self._kinds if card.format in kind.formats), None)
        if engine is None:
            raise Unavailable(
                f"no engine on this box serves {card.format} models", "import the model in another format"
            )
        weights = self._registry.path(card)
        if card.format not in FILELESS and not self._registry.whole(card):
            raise VerificationFailed(
                f"the weights of {card.id} are missing or cut short", f"`appliance model verify {card.id}`"
            )
        shape = self._shape(card, weights)
        own, common = self.settings_of(card.id), self._settings.engines
        context = options.context_tokens or own.context_tokens or common.context_tokens
        seat = Seat(
            card, weights, 0, "", self._scratch / f"{card.id}.key", 0,
            slots=options.slots or own.slots or common.slots,
            context_tokens=context_of(card, context),
            scratch=self._scratch,
            cache_type=own.cache_type,
            nodes=own.nodes,
            adapters=adapters_of(self._registry, card),
        )  # fmt: skip
        engine.argv(seat)  # says now, and not in a log, that the server is not installed
        pinned = own.pin if options.pin is None else options.pin
        made = Candidate(engine, seat, shape, own, pinned, measured(seat.adapters))
        made.need(int(engine.on_gpu()))
        return made

    def _shape(self, card: Card, weights: Path) -> Shape | None:
        """Read once for each state of the files: a header with a vocabulary takes a second, and orders are repeated."""
        mark = (card.sha256, weights.stat().st_mtime_ns if card.format not in FILELESS else 0)
        known = self._shapes.get(card.id)
        if known is None or known[0] != mark:
            parts = [part.name for part in card.parts]
            known = mark, read_shape(card.format, weights, parts, card.parameters, _weight_bytes(card))
            self._shapes[card.id] = known
        return known[1]


def _weight_bytes(card: Card) -> int:
    """Bytes of the files that hold weights; a tokenizer is none."""
    weights = [part.size_bytes for part in card.parts if part.name.endswith((".safetensors", ".gguf"))]
    return sum(weights) or card.size_bytes


Look = Callable[[], Room]
"""Sees what is free now."""
