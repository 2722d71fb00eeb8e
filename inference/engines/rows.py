"""The rows of `run/engines.json`: what others may know of a loaded model."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from inference.engines.loaded import Loaded, Order
from inference.lifecycle import Phase
from inference.supervisor import Status

WORDS: Mapping[str, str] = {Phase.DRAINING: "falls asleep", Phase.STARTING: "wakes up"}
"""Why a model whose engine naps is in a state."""


def full_row(loaded: Loaded, status: Status, order: Order | None, start_seconds: float) -> dict[str, Any]:
    """The row of a model with an engine; `start_seconds` is how long it may take to be ready."""
    row = status.as_json()
    del row["name"]
    seat = loaded.seat
    if loaded.nap and not loaded.unloading:
        row["state"], row["since"] = str(loaded.nap.state), loaded.nap.since.isoformat()
        row["reason"] = WORDS.get(loaded.nap.state, "")
    elif loaded.woke and status.state is Phase.READY:
        row["since"] = max(loaded.woke, status.since).isoformat()
    if loaded.makes_room_for:
        row["reason"] = f"makes room for {loaded.makes_room_for}"
    elif order and order.asked == loaded.id:
        row["reason"] = order.reason
    return {
        "model": status.name,
        **row,
        "engine": loaded.engine.kind,
        "url": seat.url,
        "ca_file": seat.ca_file,
        "served_as": seat.served_as,
        "api_key_file": str(seat.key_file),
        "context_tokens": seat.context_tokens,
        "slots": seat.slots,
        "threads": seat.threads or loaded.threads,
        "pinned": loaded.pinned,
        "start_seconds": start_seconds,
        "ram_bytes": loaded.place.ram,
        "gpu_bytes": {str(number): taken for number, taken in loaded.place.gpus.items()},
    }


def empty_row(name: str, state: str, reason: str) -> dict[str, Any]:
    """The row of a model that has no engine."""
    now = datetime.now(UTC).isoformat()
    row = {"model": name, "state": str(state), "pid": None, "since": now, "restarts": 0}
    nothing = {
        "engine": "",
        "url": "",
        "ca_file": "",
        "served_as": name,
        "api_key_file": "",
        "context_tokens": 0,
        "slots": 0,
        "threads": 0,
        "start_seconds": 0.0,
    }
    return {**row, "reason": reason, "next_try": None, **nothing, "pinned": False, "ram_bytes": 0, "gpu_bytes": {}}
