"""What would fit: a model's need beside what is free, in figures for people and scripts. Nothing is loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from inference.engines.devices import Room, private_bytes
from inference.engines.loaded import SLEEPING
from inference.engines.placement import Claim, Place, unclaimed
from inference.engines.seating import Candidate
from inference.lifecycle import Phase

TAKEN = frozenset({Phase.READY, Phase.DRAINING, SLEEPING})
"""States in which an engine has taken its memory on GPUs; one that sleeps what it keeps of it."""


def outlook(candidate: Candidate, room: Room, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The sums of a model's need and what would fit; `rows` are the loaded models, as the engines process tells them.

    `longest_context` has, for each number of requests at once, the longest context that would fit beside the models
    that are loaded now, and `longest_context_alone` when all that are not pinned have left; 0 for none.
    """
    others = [row for row in rows if row["model"] != candidate.card.id and row["engine"]]
    own = [row for row in rows if row["model"] == candidate.card.id and row["engine"]]
    beside = unclaimed(_given_back(room, own), [_claim(row) for row in others])
    pinned = [row for row in others if row.get("pinned")]
    movable = [row for row in others if not row.get("pinned")]
    alone = unclaimed(_given_back(room, [*own, *movable]), [_claim(row) for row in pinned])
    fit = candidate.fit(beside)
    gpus = len(fit.place.gpus) or int(candidate.engine.on_gpu())
    return {
        "engine": candidate.engine.kind,
        "slots": candidate.wish.slots,
        "context_tokens": candidate.wish.context_tokens,
        "cache_type": candidate.wish.cache_type,
        "gpus": sorted(fit.place.gpus),
        "need": candidate.need(gpus).rows(),
        "fits": fit.fits,
        "reason": fit.reason,
        "free": {"ram_bytes": beside.ram, "gpu_bytes": {str(gpu.index): gpu.free for gpu in beside.gpus}},
        "longest_context": _by_slots(candidate.longest_contexts(beside)),
        "longest_context_alone": _by_slots(candidate.longest_contexts(alone)),
    }


def _by_slots(found: Mapping[int, int]) -> dict[str, int]:
    return {str(slots): context for slots, context in found.items()}


def _claim(row: Mapping[str, Any]) -> Claim:
    # The RAM that weights sleep in is the driver's, and taken.
    taken = int(row["ram_bytes"]) if row["state"] == SLEEPING else private_bytes(row["pid"])
    return Claim(_place(row), taken, row["state"] in TAKEN)


def _place(row: Mapping[str, Any]) -> Place:
    return Place(int(row["ram_bytes"]), {int(number): taken for number, taken in row["gpu_bytes"].items()})


def _given_back(room: Room, rows: Sequence[Mapping[str, Any]]) -> Room:
    """The room once these models have left: what they have taken for themselves comes back."""
    taken = [Claim(_place(row), 0, row["state"] in TAKEN) for row in rows]
    back = [Claim(Place(gpus={n: -size for n, size in one.place.gpus.items()})) for one in taken if one.gpus_taken]
    free = unclaimed(room, back)
    ram = sum(row["ram_bytes"] if row["state"] == SLEEPING else private_bytes(row["pid"]) for row in rows)
    return Room(min(free.ram + ram, free.ram_total), free.ram_total, free.gpus)
