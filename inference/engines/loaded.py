"""What the pool remembers of each model that is loaded, or about to be; and what that means for the others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from inference.engines.devices import Room, private_bytes
from inference.engines.engine import Adapter, Engine, Seat
from inference.engines.openings import free_port, port_is_free
from inference.engines.placement import Claim, Place, Resident, beyond, unclaimed
from inference.engines.seating import Candidate
from inference.lifecycle import Phase
from inference.supervisor import Status

GIB = 1 << 30
SLEEPING = "sleeping"
"""State of a model whose engine has given its memory back and waits to be woken; the supervisor calls it ready."""


@dataclass(eq=False)
class Nap:
    """One sleep of an engine, from the order to fall asleep until it is awake again."""

    full: Place
    """What it has while it is awake."""
    small: Place
    """What it keeps asleep."""
    since: datetime
    state: str = Phase.DRAINING
    """As it is published: it finishes its work and falls asleep, it sleeps, or it wakes up (`starting`)."""
    fell: float = 0.0
    """When it fell asleep, in monotonic seconds."""


@dataclass(eq=False)
class Loaded:
    """One model in the pool."""

    candidate: Candidate
    seat: Seat
    """As it was last started; without threads before that."""
    place: Place
    """What is given out to it now."""
    pinned: bool
    used: float
    """When it was last used or became ready, in monotonic seconds."""
    threads: int = 0
    """Its share, which the next start takes."""
    unloading: bool = False
    makes_room_for: str = ""
    holds: Place | None = None
    """What its process has taken while that is not its place: it wakes up, or is about to start anew elsewhere."""
    nap: Nap | None = None
    woke: datetime | None = None
    """When it was last awake again."""

    @property
    def id(self) -> str:
        return self.seat.card.id

    @property
    def engine(self) -> Engine:
        return self.candidate.engine

    @property
    def asleep(self) -> bool:
        return self.nap is not None and self.nap.state == SLEEPING

    def next_seat(self, adapters: Sequence[Adapter]) -> Seat:
        """How it is started next. `adapters` are those that are whole now: of them it serves what was measured.

        Each start may need another port: somebody may have taken ours in between.
        """
        port = self.seat.port if port_is_free(self.seat.port) else free_port()
        served = tuple(one for one in self.seat.adapters if one in adapters)
        return replace(self.seat, port=port, threads=self.threads, adapters=served)


@dataclass
class Order:
    """A model that is loaded, or wakes up, or starts anew, once others have left."""

    candidate: Candidate
    place: Place
    leaving: set[str]
    asked: str
    """The model that somebody asked for: this one, or an adapter of it."""

    @property
    def reason(self) -> str:
        return f"waits until {', '.join(sorted(self.leaving))} has left"


def dead(status: Status) -> bool:
    """Whether nobody will start its engine again by himself."""
    return status.state is Phase.FAILED and status.next_try is None


def free_now(room: Room, loaded: Iterable[tuple[Loaded, Status]], orders: Iterable[tuple[Order, Place]]) -> Room:
    """What is free once everybody has taken what was given out to him. With each order comes what its model has now."""
    claims = [_claim(one, status) for one, status in loaded if not dead(status)]
    return unclaimed(room, [*claims, *(Claim(beyond(order.place, has)) for order, has in orders)])


def resident(loaded: Loaded, status: Status, now: float, kept: bool) -> Resident:
    """It, as far as making room is concerned."""
    gone = dead(status)
    awake = loaded.nap.full if loaded.nap else loaded.place
    size = awake.ram + sum(awake.gpus.values())
    own = loaded.candidate.settings
    return Resident(
        loaded.id,
        Place() if gone else loaded.place,
        0.0 if gone else own.cost or size / GIB,
        now - loaded.used,
        loaded.pinned,
        own.group,
        kept and not gone,
        loaded.candidate.asleep(loaded.place) if may_fall_asleep(loaded, status) else None,
    )


def may_fall_asleep(loaded: Loaded, status: Status) -> bool:
    """Whether it is in a state to be put to sleep."""
    return status.state is Phase.READY and loaded.nap is None and loaded.holds is None and not loaded.unloading


def nobody_uses(loaded: Loaded, status: Status, now: float) -> bool:
    """Whether it has been idle, or asleep, for as long as its settings say; its time begins once it is ready."""
    if status.state is not Phase.READY:
        loaded.used = now
    own, nap = loaded.candidate.settings, loaded.nap
    if nap is not None and nap.state != SLEEPING:
        return False
    most, since = (own.asleep_seconds, nap.fell) if nap else (own.idle_seconds, loaded.used)
    return bool(most) and not (loaded.pinned or loaded.unloading) and now - since > most


def _claim(loaded: Loaded, status: Status) -> Claim:
    """What it will take, less what it has taken."""
    if status.state not in (Phase.READY, Phase.DRAINING):
        return Claim(loaded.place, private_bytes(status.pid))
    gpus = beyond(loaded.place, loaded.holds or loaded.place).gpus
    if loaded.nap is None:
        return Claim(Place(loaded.place.ram, gpus), private_bytes(status.pid))
    # Weights that sleep have their RAM already; those about to have not.
    return Claim(Place(loaded.nap.small.ram if loaded.nap.state == Phase.DRAINING else 0, gpus))
