"""Pairs of edits, for bugs that one edit cannot mend."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from appliance.repair.edits import Edit, overlap

SEEDS = 40
"""Edits that made some acceptance test pass, from which pairs are grown."""
PARTNERS = 400
"""Best-ranked edits that each seed is paired with."""
BLIND = 60
"""Best-ranked edits paired with one another when no edit alone changed anything."""


def propose(partial: Sequence[tuple[float, Edit]], edits: Sequence[Edit]) -> Iterator[Edit]:
    """Pairs in the order of their odds: first those with a seed that already helps, then the likeliest two."""
    seeds = [edit for _, edit in sorted(partial, key=lambda one: (-one[0], -one[1].score))[:SEEDS]]
    seen: set[object] = set()
    for first in seeds:
        for second in edits[:PARTNERS]:
            yield from _paired(first, second, seen)
    for at, first in enumerate(edits[:BLIND]):
        for second in edits[at + 1 : BLIND]:
            yield from _paired(first, second, seen)


def _paired(first: Edit, second: Edit, seen: set[object]) -> Iterator[Edit]:
    pair = replace(first, also=(second,), score=first.score + second.score)
    if first.path == second.path and overlap(first, second):
        return
    if pair.key not in seen:
        seen.add(pair.key)
        yield pair
