"""LoRA adapters: models of their own to everybody, served by the engine of their base. Pure, but for the registry."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from appliance.errors import Unavailable
from inference.engines.engine import Adapter, Seat
from models.card import Card
from models.registry import Registry


def adapters_of(registry: Registry, base: Card) -> tuple[Adapter, ...]:
    """All whole adapters for this model."""
    return tuple(
        Adapter(one.id, registry.path(one), one.sha256)
        for one in registry.list()
        if one.base == base.id and registry.whole(one)
    )


def serves(seat: Seat, adapter: Card) -> bool:
    """Whether it serves this adapter, and not one that had the name before."""
    return any((one.name, one.sha256) == (adapter.id, adapter.sha256) for one in seat.adapters)


def bases_of(models: Collection[str], seats: Iterable[Seat]) -> set[str]:
    """These models, those that engines serve as adapters replaced by their bases."""
    base = {name: seat.card.id for seat in seats for name, *_ in seat.adapters}
    return {base.get(id, id) for id in models}


def adapter_row(row: dict[str, Any], id: str, base: str) -> dict[str, Any]:
    """The row of an adapter, from that of its base: the same engine, and no memory or threads beside it."""
    nothing: dict[str, Any] = {"threads": 0, "ram_bytes": 0, "gpu_bytes": {}}
    return {**row, "model": id, "served_as": id, "base": base, **nothing}


def with_adapters(rows: Sequence[dict[str, Any]], seats: Iterable[Seat], registry: Registry) -> list[dict[str, Any]]:
    """The rows of models, and after them those of the adapters that their engines serve.

    One that was removed, or has come anew with other content, is served to nobody, though its engine still holds it.
    """
    adapting = [(row, seat) for row in rows for seat in seats if seat.card.id == row["model"] and seat.adapters]
    return [
        *rows,
        *(adapter_row(row, one.name, seat.card.id) for row, seat in adapting for one in _still_there(registry, seat)),
    ]


def _still_there(registry: Registry, seat: Seat) -> tuple[Adapter, ...]:
    """Those that it serves and the registry has."""
    try:
        return tuple(one for one in adapters_of(registry, seat.card) if one in seat.adapters)
    except Unavailable:
        return seat.adapters  # a folder that cannot be read now: the engine goes on
