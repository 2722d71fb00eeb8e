"""What `appliance model show` tells of memory: the sums, and the contexts that would fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from appliance.cli.context import Box
from appliance.errors import FactoryError
from inference.engines.devices import read_room
from inference.engines.outlook import outlook
from inference.engines.seating import Seating
from inference.engines.server import kinds
from models.card import Card
from models.registry import Registry

MIB = 1 << 20


def fit_of(box: Box, card: Card, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The outlook of a model on this box now, or under `problem` why there is none."""
    seating = Seating(Registry(box.home.models), box.settings, kinds(box.settings), box.home.run / "engines")
    try:
        return outlook(seating.candidate(card), read_room(), rows)
    except FactoryError as error:
        return {"problem": f"{error.message} ({error.hint})"}


def in_words(fit: dict[str, Any]) -> list[str]:
    """Lines for people."""
    if "problem" in fit:
        return [f"would fit: not known: {fit['problem']}"]
    where = f"each of GPU {', '.join(map(str, fit['gpus']))}" if fit["gpus"] else "RAM"
    lines = [f"needs, with {fit['slots']} requests at once of {fit['context_tokens']} tokens each, in {where}:"]
    for row in fit["need"]:
        lines.append(f"  {row['what']:<16} {row['bytes'] / MIB:>10,.0f} MiB  {row['how']}".rstrip())
    lines.append(fit["reason"])
    lines.append("longest context that would fit, beside the loaded models / when those that may have left:")
    for slots, context in fit["longest_context"].items():
        lines.append(f"  {slots:>3} at once: {_tokens(context)} / {_tokens(fit['longest_context_alone'][slots])}")
    return lines


def _tokens(context: int) -> str:
    return f"{context} tokens" if context else "none"
