"""Who gets how many threads, and whether a model fits: pure decisions with their reasons.

Threads of two engines on the same core ruin each other (from 75 to under 2 tokens a second, measured), so the shares
of all engines together stay within the budget as long as there are no more engines than threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from models.card import Card

RESERVE_BYTES = 512 * 1024 * 1024
"""Memory left to the rest of the box."""


@dataclass(frozen=True)
class Fit:
    """Whether a model can be loaded, and why."""

    fits: bool
    reason: str


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


def fit_memory(model: str, needed: int, available: int) -> Fit:
    """Whether `needed` bytes go into what the machine has left."""
    figures = (
        f"it needs about {needed >> 20} MiB; {available >> 20} MiB are free, {RESERVE_BYTES >> 20} of them kept back"
    )
    fits = needed + RESERVE_BYTES <= available
    return Fit(fits, f"{model} {'fits' if fits else 'does not fit'} into memory: {figures}")


def context_of(card: Card, wanted: int) -> int:
    """Context for each request, in tokens: what the settings want, within what the model was trained for."""
    if card.embeds:
        # Its batch is as long as its context, so what a file claims needs a bound.
        return min(card.context_tokens or 512, max(wanted, 512))
    return min(wanted, card.context_tokens) if card.context_tokens else wanted
