"""LoRA adapters as vLLM is told of them, and what they take beside their base. Read from their own small files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from inference.engines.engine import Adapter
from inference.engines.needs import Adapters
from models.safetensors import read_contents

RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""Ranks of adapters that vLLM can be told, the largest of all that are to be served."""
USUAL_RANK = RANKS[2]
AT_ONCE = 8
"""Adapters at work in one batch; more of them take turns."""

Served = Sequence[Adapter]


def options(served: Served) -> tuple[str, ...]:
    """The words of the command that serve them, each a model by its own name."""
    if not served:
        return ()
    modules = [f"{one.name}={one.folder}" for one in served]
    targets = _targets(served)
    return (
        "--enable-lora", "--max-loras", str(min(len(modules), AT_ONCE)), "--max-cpu-loras", str(len(modules)),
        "--max-lora-rank", str(_told_rank(served)),
        # Untold, it sets memory aside for every matrix of the model, also for those that no adapter changes.
        *(("--lora-target-modules", *targets) if targets else ()),
        "--lora-modules", *modules,
    )  # fmt: skip


def measured(served: Served) -> Adapters | None:
    """What they take; None for none. Raises VerificationFailed for a file that is broken."""
    if not served:
        return None
    numbers: dict[str, int] = {}
    stored = 0
    for one in served:
        rank = _rank(one.folder)
        for file in one.folder.glob("*.safetensors"):
            for tensor in read_contents(file).tensors:
                numbers[tensor.name] = max(numbers.get(tensor.name, 0), -(-tensor.elements // rank))
                stored += tensor.elements
    return Adapters(min(len(served), AT_ONCE), _told_rank(served), sum(numbers.values()), stored)


def _told_rank(served: Served) -> int:
    highest = max(_rank(one.folder) for one in served)
    return next((rank for rank in RANKS if rank >= highest), RANKS[-1])


def _rank(folder: Path) -> int:
    rank = _config(folder).get("r")
    return rank if type(rank) is int and rank > 0 else USUAL_RANK


def _targets(served: Served) -> list[str]:
    """Names of the matrices that they change; none when one of them says it in another way than by a list."""
    found: set[str] = set()
    for one in served:
        own = _config(one.folder).get("target_modules")
        if not isinstance(own, list) or not all(isinstance(name, str) and name for name in own):
            return []
        found.update(own)
    return sorted(found)


def _config(folder: Path) -> dict[str, Any]:
    """What an adapter says of itself; nothing when that cannot be read, and then vLLM says what is wrong."""
    try:
        read = json.loads((folder / "adapter_config.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return read if isinstance(read, dict) else {}
