"""Who gets how many threads, whether a model fits and where, and who goes to make room: pure decisions with reasons.

Threads of two engines on the same core ruin each other (from 75 to under 2 tokens a second, measured), so the shares
of all engines together stay within the budget as long as there are no more engines than threads.

Room is made at the least cost: of all sets of loaded models whose going would be enough, the one whose costs are least
together, and of equal ones the one unused for longest. Models that can are put to sleep rather than unloaded, as long
as RAM has room for what they keep there. Pinned models never go; models whose turn it is go last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

from inference.engines.devices import Gpu, Room
from inference.engines.needs import MIB, Need, Wish
from models.card import Card

RESERVE_BYTES = 512 * MIB
"""RAM left to the rest of the box."""
GPU_RESERVE = 50
"""One part in so many of each GPU's memory is not given out: drivers, fragments, and shares rounded up."""
GPU_COUNTS = (1, 2, 4, 8, 16)
"""How many GPUs one model may be spread over; heads divide by these."""
EXHAUSTIVE = 12
"""Loaded models up to which every set is tried."""
SLOTS_SHOWN = (1, 2, 4, 8, 16)
NAP_COST = 0.1
"""What putting a model to sleep costs, as a share of what unloading it does: it is back in seconds."""
STEP = 256
"""Tokens between two contexts that are told apart."""


@dataclass(frozen=True)
class Place:
    """Where a model goes; bytes that it takes there."""

    ram: int = 0
    gpus: Mapping[int, int] = field(default_factory=dict)
    """GPU number → bytes."""


@dataclass(frozen=True)
class Fit:
    """Whether a model can be loaded, and why."""

    fits: bool
    reason: str
    place: Place = Place()


@dataclass(frozen=True)
class Resident:
    """A loaded model, as far as making room is concerned."""

    model: str
    place: Place
    cost: float
    """Of loading it again, in any unit that is the same for all."""
    idle_seconds: float = 0.0
    pinned: bool = False
    group: str = ""
    kept: bool = False
    """It is at work or has its turn: others go first, and it only when somebody says so."""
    asleep: Place | None = None
    """What it would keep if it were put to sleep; None where that cannot be."""


@dataclass(frozen=True)
class Plan:
    """What to do so that a model can be loaded."""

    fit: Fit
    """With the models in `leave` gone, and those in `rest` asleep."""
    leave: tuple[str, ...] = ()
    """Models to unload, least cost."""
    rest: tuple[str, ...] = ()
    """Models to put to sleep."""
    wait_for: tuple[str, ...] = ()
    """Models that would have to go but are kept; nothing is to be done before they are not."""

    @property
    def goes(self) -> tuple[str, ...]:
        """Everybody who has to make room."""
        return (*self.leave, *self.rest)


Needs = Callable[[int], Need]
"""What a model takes: in RAM for 0, on each GPU for a number of them."""


def share_threads(cards: Sequence[Card], budget: int) -> dict[str, int]:
    """Threads for each loaded model, by id: embedders one each, writers the rest in equal parts, nobody none.

    One thread is enough for an embedder (some hundred short texts a second) and leaves the cores to those who write.
    """
    writers = [card for card in cards if not card.embeds]
    left = budget - (len(cards) - len(writers))
    shares = {card.id: 1 for card in cards}
    for n, card in enumerate(writers):
        extra = 1 if n < left % len(writers) else 0
        shares[card.id] = max(1, left // len(writers) + extra)
    return shares


@dataclass(frozen=True)
class Claim:
    """A place that was given out."""

    place: Place
    ram_taken: int = 0
    """Bytes of RAM that it has taken already; files that it maps still count as free."""
    gpus_taken: bool = False
    """Its memory on GPUs is taken already."""


def unclaimed(room: Room, claims: Sequence[Claim]) -> Room:
    """What is free once everybody has taken what was given out."""
    ram = sum(max(0, claim.place.ram - claim.ram_taken) for claim in claims)
    gpus = tuple(
        replace(gpu, free=gpu.free - sum(one.place.gpus.get(gpu.index, 0) for one in claims if not one.gpus_taken))
        for gpu in room.gpus
    )
    return replace(room, ram=room.ram - ram, gpus=gpus)


def fit_memory(
    model: str, needs: Needs, room: Room, on_gpu: bool = False, allowed: Sequence[int] = (), share: float = 0.0
) -> Fit:
    """Whether and where a model goes: on as few GPUs as hold it where its engine computes on them, else into RAM.

    `allowed` are the numbers of the GPUs it may use; empty means any. `share` is the part of each that it takes; 0
    means what it needs.
    """
    if on_gpu:
        return _fit_gpus(model, needs, [gpu for gpu in room.gpus if not allowed or gpu.index in allowed], share)
    needed = needs(0).bytes
    fits = needed + RESERVE_BYTES <= room.ram
    figures = f"it needs about {mib(needed)}; {mib(room.ram)} are free, {mib(RESERVE_BYTES)} of them kept back"
    return Fit(fits, f"{model} {_words(fits)} into memory: {figures}", Place(ram=needed))


def make_room(model: str, group: str, fit: Callable[[Room], Fit], room: Room, residents: Sequence[Resident]) -> Plan:
    """Who has to go so that `model` fits and is alone in its group; nobody when it fits as it is."""
    rivals = {one.model for one in residents if group and one.group == group}
    if stuck := sorted(one.model for one in residents if one.model in rivals and one.pinned):
        return Plan(Fit(False, f"{model} is in the group {group!r} with {stuck[0]}, which is pinned"))
    free = [one for one in residents if not one.pinned]
    for candidates in ([one for one in free if not one.kept], free):
        if not rivals <= {one.model for one in candidates}:
            continue
        for way in _by_cost(candidates, rivals):
            after = without(_resting(room, way.rest), way.leave)
            found = fit(after)
            # Whoever sleeps has its weights in RAM, which a model for GPUs does not ask about.
            if found.fits and (not way.rest or after.ram - found.place.ram >= RESERVE_BYTES):
                leave, rest = (tuple(one.model for one in group) for group in (way.leave, way.rest))
                return Plan(found, leave, rest, tuple(one.model for one in (*way.leave, *way.rest) if one.kept))
    refusal = fit(without(room, free))
    pinned = ", ".join(sorted(one.model for one in residents if one.pinned))
    return Plan(replace(refusal, reason=refusal.reason + (f"; pinned: {pinned}" if pinned else "")))


def fit_awake(model: str, full: Place, asleep: Place, room: Room) -> Fit:
    """Whether a model that sleeps can have back what it gave away: on the very GPUs where it fell asleep."""
    free = {gpu.index: gpu.free - gpu.total // GPU_RESERVE for gpu in room.gpus}
    more = {number: taken - asleep.gpus.get(number, 0) for number, taken in full.gpus.items()}
    short = {number: size for number, size in more.items() if size > free.get(number, 0)}
    number, size = next(iter((short or more).items()))
    figures = f"it needs about {mib(size)} more of GPU {number}; {mib(max(0, free.get(number, 0)))} are free"
    return Fit(not short, f"{model}, which sleeps, {_words(not short)} when awake: {figures}", full)


def may_rest(asleep: Place, room: Room) -> bool:
    """Whether RAM has room for what a model keeps there while it sleeps."""
    return room.ram - asleep.ram >= RESERVE_BYTES


def beyond(place: Place, other: Place) -> Place:
    """What a place has more than another."""
    gpus = {number: max(0, taken - other.gpus.get(number, 0)) for number, taken in place.gpus.items()}
    return Place(max(0, place.ram - other.ram), gpus)


def without(room: Room, leaving: Sequence[Resident]) -> Room:
    """The room once these have left."""
    gpus = tuple(
        replace(gpu, free=min(gpu.total, gpu.free + sum(one.place.gpus.get(gpu.index, 0) for one in leaving)))
        for gpu in room.gpus
    )
    return replace(room, ram=room.ram + sum(one.place.ram for one in leaving), gpus=gpus)


def context_of(card: Card, wanted: int) -> int:
    """Context for each request, in tokens: what the settings want, within what the model was trained for.

    A server on another machine gives what it gives.
    """
    if card.remote is not None:
        return card.context_tokens or wanted
    if card.embeds:
        # Its batch is as long as its context, so what a file claims needs a bound.
        return min(card.context_tokens or 512, max(wanted, 512))
    return min(wanted, card.context_tokens) if card.context_tokens else wanted


def what_fits(longest: int, fits: Callable[[Wish], bool], wish: Wish) -> dict[int, int]:
    """The longest context that fits for each number of slots; 0 where not even the shortest does.

    All else is as in `wish`.
    """
    return {slots: _longest(longest, fits, replace(wish, slots=slots)) for slots in SLOTS_SHOWN}


def mib(count: int) -> str:
    """Bytes in words."""
    return f"{count // MIB} MiB"


def _fit_gpus(model: str, needs: Needs, gpus: Sequence[Gpu], share: float) -> Fit:
    if not gpus:
        return Fit(False, f"{model} needs a GPU, and there is none it may use")
    roomy = sorted(gpus, key=lambda gpu: (-gpu.free, gpu.index))
    tried = ""
    for count in (count for count in GPU_COUNTS if count <= len(roomy)):
        needed, chosen = needs(count).bytes, roomy[:count]
        takes = {gpu.index: int(share * gpu.total) if share else needed for gpu in chosen}
        fits = all(needed <= takes[gpu.index] <= gpu.free - gpu.total // GPU_RESERVE for gpu in chosen)
        least = chosen[-1]
        tried = (
            f"on {count} GPU{'s' if count > 1 else ''}: it needs about {mib(needed)} of each"
            + (f" and may take {mib(takes[least.index])}" if share else "")
            + f"; {mib(least.free)} are free, {mib(least.total // GPU_RESERVE)} of them kept back"
        )
        if fits:
            return Fit(True, f"{model} fits {tried}", Place(gpus=takes))
    return Fit(False, f"{model} does not fit {tried}")


@dataclass(frozen=True)
class _Way:
    """One way to make room."""

    leave: tuple[Resident, ...]
    rest: tuple[Resident, ...] = ()

    @property
    def price(self) -> tuple[float, int, float, tuple[str, ...]]:
        """Least cost; then few; then unused for long; then by name, so that the same always gives the same."""
        going = (*self.leave, *self.rest)
        cost = sum(one.cost for one in self.leave) + NAP_COST * sum(one.cost for one in self.rest)
        idle = min((one.idle_seconds for one in going), default=0.0)
        return cost, len(going), -idle, tuple(sorted(one.model for one in going))


def _by_cost(candidates: Sequence[Resident], always: set[str]) -> Iterator[_Way]:
    """Ways to make room, the cheapest first; in all of them those in `always` leave."""
    must = [one for one in candidates if one.model in always]
    rest = [one for one in candidates if one.model not in always]
    if len(rest) <= EXHAUSTIVE:
        sets = [chosen for count in range(len(rest) + 1) for chosen in combinations(rest, count)]
        yield from sorted((way for chosen in sets for way in _ways(must, chosen)), key=lambda way: way.price)
        return
    # Too many to try every set: one after the other, the cheapest first.
    rest.sort(key=lambda one: (one.cost, -one.idle_seconds, one.model))
    for count in range(len(rest) + 1):
        yield from _ways(must, rest[:count])


def _ways(must: Sequence[Resident], chosen: Sequence[Resident]) -> list[_Way]:
    """All of the chosen go to sleep that can; or all leave."""
    sleepers = tuple(one for one in chosen if one.asleep is not None)
    others = tuple(one for one in chosen if one.asleep is None)
    sleeping = [_Way((*must, *others), sleepers)] if sleepers else []
    return [*sleeping, _Way((*must, *chosen))]


def _resting(room: Room, sleepers: Sequence[Resident]) -> Room:
    """The room once these are asleep."""
    given = [replace(one, place=beyond(one.place, one.asleep)) for one in sleepers if one.asleep is not None]
    taken = sum(beyond(one.asleep, one.place).ram for one in sleepers if one.asleep is not None)
    after = without(room, given)
    return replace(after, ram=after.ram - taken)


def _longest(longest: int, fits: Callable[[Wish], bool], wish: Wish) -> int:
    """By halving: more context never needs less memory."""
    steps = [*range(STEP, longest, STEP), longest] if longest > 0 else []
    low, high = 0, len(steps)
    while low < high:
        middle = (low + high) // 2
        if fits(replace(wish, context_tokens=steps[middle])):
            low = middle + 1
        else:
            high = middle
    return steps[low - 1] if low else 0


def _words(fits: bool) -> str:
    return "fits" if fits else "does not fit"
