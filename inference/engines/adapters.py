"""LoRA adapters: models of their own to everybody, served by the engine of their base. Pure, but for the registry."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

from inference.engines.engine import Seat
from models.card import Card
from models.registry import Registry


def adapters_of(registry: Registry, base: Card) -> tuple[tuple[str, Path], ...]:
    """Names and folders of all whole adapters for this model."""
    return tuple((one.id, registry.path(one)) for one in registry.list() if one.base == base.id and registry.whole(one))


def bases_of(models: Collection[str], seats: Iterable[Seat]) -> set[str]:
    """These models, those that engines serve as adapters replaced by their bases."""
    base = {name: seat.card.id for seat in seats for name, _ in seat.adapters}
    return {base.get(id, id) for id in models}


def adapter_row(row: dict[str, Any], id: str, base: str) -> dict[str, Any]:
    """The row of an adapter, from that of its base: the same engine, and no memory or threads beside it."""
    nothing: dict[str, Any] = {"threads": 0, "ram_bytes": 0, "gpu_bytes": {}}
    return {**row, "model": id, "served_as": id, "base": base, **nothing}


def with_adapters(rows: Sequence[dict[str, Any]], seats: Iterable[Seat]) -> list[dict[str, Any]]:
    """The rows of models, and after them those of the adapters that their engines serve."""
    by_model = {row["model"]: row for row in rows}
    served = [(seat.card.id, name) for seat in seats for name, _ in seat.adapters]
    return [*rows, *(adapter_row(by_model[base], name, base) for base, name in served if base in by_model)]
