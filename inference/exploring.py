"""Now and then another candidate first, so that its outcomes become known. Bounded, and never where much is at stake.

Only where a choice begins: at the first try of an item, which `/v1/route` is asked about; never within an episode,
whose calls stay with one model, and never at severity 1 or where the severity is not known.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from datetime import date

from inference.asked import AUTO, RouteRequest
from inference.router import Decision


def dice_of(seed: int) -> random.Random:
    """Dice that fall the same at every start; with 0 as chance wants."""
    return random.Random(seed or None)  # noqa: S311 - chance, no secret


class Explorer:
    """Draws within a budget for each day."""

    def __init__(self, share: float, dice: random.Random, today: Callable[[], date] = date.today) -> None:
        """`share` of a day's choices that may begin with another candidate; 0 explores nothing."""
        self._share = share
        self._dice = dice
        self._today = today
        self._day = today()
        self._choices = 0
        self._explored = 0

    def choose(self, decision: Decision, among: Sequence[str], asked: RouteRequest) -> Decision:
        """The decision, perhaps with another of `among` (the rule's own candidates) first; and how likely that was."""
        others = [name for name in decision.candidates[1:] if name in among]
        if not self._may(decision, asked) or not others or decision.candidates[0] not in among:
            return decision
        if self._day != self._today():
            self._day, self._choices, self._explored = self._today(), 0, 0
        self._choices += 1
        if self._explored + 1 > self._share * self._choices + 1:
            return decision
        if self._dice.random() >= self._share:
            return decision.with_(propensity=round(1 - self._share, 6))
        self._explored += 1
        chosen = self._dice.choice(others)
        rest = tuple(name for name in decision.candidates if name != chosen)
        return decision.with_(
            candidates=(chosen, *rest), explored=True, propensity=round(self._share / len(others), 6),
            reasons=(*decision.reasons, f"{chosen} comes first to learn how good it is (gateway.explore_share)"),
        )  # fmt: skip

    def _may(self, decision: Decision, asked: RouteRequest) -> bool:
        plain = decision.model == AUTO and decision.learning == "apply"
        return bool(self._share) and plain and asked.attempt == 1 and asked.severity > 1
