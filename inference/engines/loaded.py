"""What the pool remembers of each model that is loaded, or about to be."""

from __future__ import annotations

from dataclasses import dataclass

from inference.engines.engine import Engine, Seat
from inference.engines.placement import Place, Resident
from inference.engines.seating import Candidate

GIB = 1 << 30


@dataclass
class Loaded:
    """One model in the pool."""

    candidate: Candidate
    seat: Seat
    """As it was last started; without threads before that."""
    place: Place
    pinned: bool
    used: float
    """When it was last used or became ready, in monotonic seconds."""
    threads: int = 0
    """Its share, which the next start takes."""
    unloading: bool = False
    makes_room_for: str = ""

    @property
    def engine(self) -> Engine:
        return self.candidate.engine


@dataclass
class Order:
    """A model that is loaded once others have left."""

    candidate: Candidate
    place: Place
    leaving: set[str]


def resident(loaded: Loaded, now: float, dead: bool, kept: bool) -> Resident:
    """It, as far as making room is concerned."""
    size = loaded.place.ram + sum(loaded.place.gpus.values())
    own = loaded.candidate.settings
    return Resident(
        loaded.seat.card.id,
        Place() if dead else loaded.place,
        0.0 if dead else own.cost or size / GIB,
        now - loaded.used,
        loaded.pinned,
        own.group,
        kept and not dead,
    )
