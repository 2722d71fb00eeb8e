"""How much cells that are alike tell of one another: the pull of a cell's share to the mean over cells. Pure.

A cell's true share is taken as drawn from a Beta distribution around the mean of its group, whose two counts sum to the
pull: cells that are all alike pull hard, cells that each are their own hardly do. The pull is estimated from the spread
of the cells' shares by the method of moments for beta-binomial counts (Kleinman, JASA 68, 1973): where ρ is the
correlation of two outcomes in one cell, ``E[Σ n (share - mean)²] = mean (1 - mean) (R - 1 + ρ (N - Σ n²/N - (R - 1)))``
for R cells of n outcomes, N in all, and the pull is ``1/ρ - 1``. A group tells of ρ the more, the less that sum varies
by chance; before any outcome ρ is held to be that of the usual pull, with a deviation of `DOUBT`. Outcomes that count
less are worth ``(Σ weight)² / Σ weight²`` whole ones (Kish 1965, "Survey Sampling").
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

USUAL = 8.0
"""The pull, in outcomes, where nothing tells of the spread."""
LEAST, MOST = 2.0, 100.0
DOUBT = 0.15
"""Standard deviation of the correlation in a cell before any outcome: from cells that are alike to a pull of 3."""


@dataclass
class Cell:
    """Outcomes of one cell, weighted."""

    weight: float = 0.0
    held: float = 0.0
    squares: float = 0.0

    def add(self, weight: float, held: bool) -> None:
        """One more outcome; `weight` is above 0 and at most 1."""
        self.weight += weight
        self.held += weight * held
        self.squares += weight * weight

    @property
    def share(self) -> float:
        return self.held / self.weight

    @property
    def size(self) -> float:
        """In whole outcomes."""
        return self.weight**2 / self.squares


def pull_of(groups: Iterable[Mapping[str, Cell]]) -> float:
    """The pull, in outcomes, that fits all groups of cells together; no cell is empty. Groups with a single cell, or
    whose outcomes are all the same, tell nothing.

    >>> pull_of([])
    8.0
    >>> pull_of([{"a": Cell(50, 45, 50), "b": Cell(50, 10, 50)}])
    2.0
    """
    usual = 1.0 / (1.0 + USUAL)
    seen, evidence = usual / DOUBT**2, 1.0 / DOUBT**2
    for group in groups:
        cells = list(group.values())
        total = sum(cell.size for cell in cells)
        mean = sum(cell.size * cell.share for cell in cells) / total if total else 0.0
        others = len(cells) - 1.0
        if others < 1 or not 0.0 < mean < 1.0:
            continue
        spread = sum(cell.size * (cell.share - mean) ** 2 for cell in cells) / (mean * (1.0 - mean))
        slope = max(0.0, total - sum(cell.size**2 for cell in cells) / total - others)
        chance = 2.0 * others * (1.0 + usual * max(0.0, total / len(cells) - 1.0)) ** 2
        seen += slope * (spread - others) / chance
        evidence += slope**2 / chance
    together = min(max(seen / evidence, 1.0 / (1.0 + MOST)), 1.0 / (1.0 + LEAST))
    return round(1.0 / together - 1.0, 6)
