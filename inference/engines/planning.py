"""What to do so that one more model can be served beside the loaded ones. It looks at what processes have taken."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial

from inference.engines.devices import Room
from inference.engines.loaded import Loaded, Nap, Order, free_now, resident
from inference.engines.placement import Fit, Place, Plan, Resident, fit_awake, make_room, without
from inference.engines.seating import Candidate
from inference.supervisor import Status


def plan_for(
    candidate: Candidate,
    seen: Room,
    loaded: Mapping[str, tuple[Loaded, Status]],
    orders: Mapping[str, Order],
    keep: Collection[str],
    now: float,
) -> tuple[Room, Plan]:
    """What is free, as far as it is not given out, and who has to make room for this one.

    A candidate whose model is loaded already starts anew: what it has now counts as free. One that is the very
    candidate which sleeps may wake up instead.
    """
    id, group = candidate.card.id, candidate.settings.group
    has = {other: one.place for other, (one, _) in loaded.items()}
    waiting = [(order, has.get(other, Place())) for other, order in orders.items() if other != id]
    room = free_now(seen, loaded.values(), waiting)
    residents = {
        other: resident(one, status, now, other in keep) for other, (one, status) in loaded.items() if not one.unloading
    }
    own = residents.pop(id, None)
    others = list(residents.values())
    afresh = make_room(id, group, partial(_fit_afresh, candidate, own), room, others)
    one = loaded[id][0] if id in loaded else None
    if one is None or one.nap is None or one.candidate is not candidate:
        return room, afresh
    awake = make_room(id, group, partial(_fit_awake, id, one.nap), room, others)
    # Waking up is quicker than starting anew on other GPUs, unless somebody has to go for it.
    easier = afresh.fit.fits and (not awake.fit.fits or bool(awake.goes and not afresh.goes))
    return room, afresh if easier else awake


def _fit_afresh(candidate: Candidate, own: Resident | None, room: Room) -> Fit:
    return candidate.fit(without(room, [own] if own else []))


def _fit_awake(id: str, nap: Nap, room: Room) -> Fit:
    return fit_awake(id, nap.full, nap.small, room)
