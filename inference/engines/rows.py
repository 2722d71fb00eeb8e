"""The rows of `run/engines.json`: what others may know of a loaded model."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from inference.engines.engine import Seat
from inference.engines.placement import Place
from inference.supervisor import Status


def full_row(status: Status, kind: str, seat: Seat, place: Place, pinned: bool, start_seconds: float) -> dict[str, Any]:
    """The row of a model with an engine; `start_seconds` is how long it may take to be ready."""
    row = status.as_json()
    del row["name"]
    return {
        "model": status.name,
        **row,
        "engine": kind,
        "url": seat.url,
        "ca_file": seat.ca_file,
        "served_as": seat.served_as,
        "api_key_file": str(seat.key_file),
        "context_tokens": seat.context_tokens,
        "slots": seat.slots,
        "threads": seat.threads,
        "pinned": pinned,
        "start_seconds": start_seconds,
        "ram_bytes": place.ram,
        "gpu_bytes": {str(number): taken for number, taken in place.gpus.items()},
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
