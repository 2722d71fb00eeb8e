"""How another order would have done, from what was logged under this one: off-policy evaluation. Pure.

Where exploring was possible, the log has each choice with the chance it had. The doubly robust estimate (Dudík,
Langford and Li 2011, "Doubly Robust Policy Evaluation and Learning") takes a guess of each candidate's worth from the
other outcomes, and corrects it by those choices that agree with the order that is judged, each weighed by one over its
chance. It is right when either the guesses or the chances are; here the chances are the gateway's own.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from appliance.work import Noun

LARGEST_WEIGHT = 50.0
"""One over the least chance that counts: a choice made once in a thousand would decide everything."""
LEAST_EFFECTIVE = 10.0
"""Choices, counted by how much weight they share (Kish 1965), that must agree with each of two orders that are
compared. With fewer nothing can be said."""
PULL = 2.0
"""Outcomes that the mean of all counts in a candidate's guess."""


class Logged(NamedTuple):
    """One choice: in which place (rule and repository), who came first, how likely that was, and what it was worth;
    `old` and `new` are whom two ways of choosing that are compared put first there."""

    place: str
    action: str
    propensity: float
    reward: float
    old: str
    new: str


class Judged(Noun):
    """Two orders compared on the log."""

    tries: int
    """Choices in which another candidate could have come first."""
    effective_new: float
    effective_old: float
    """Choices, as their weights count, that agree with each order."""
    gain: float
    """Worth of the new order less that of the old, for each choice."""
    unsure: float
    """Its standard error."""
    conclusive: bool
    why: str


def compared(log: Sequence[Logged]) -> Judged:
    """What the log says of the new way of choosing against the old. Choices that could not have been others say
    nothing, and are left out."""
    open_ones = [one for one in log if 0 < one.propensity < 1]
    count = len(open_ones)
    guesses = _guesses(open_ones)
    differences = [
        _doubly_robust(one, one.new, guesses[n]) - _doubly_robust(one, one.old, guesses[n])
        for n, one in enumerate(open_ones)
    ]
    gain = sum(differences) / count if count else 0.0
    spread = math.sqrt(sum((one - gain) ** 2 for one in differences) / (count - 1)) if count > 1 else 0.0
    effective = [
        _effective([one for one in open_ones if one.action == one.new]),
        _effective([one for one in open_ones if one.action == one.old]),
    ]
    conclusive = min(effective) >= LEAST_EFFECTIVE
    unsure = spread / math.sqrt(count) if count else 0.0
    why = f"{gain:+.3f} ± {unsure:.3f} over {count} choices that were left to chance"
    if not conclusive:
        why = (
            f"INCONCLUSIVE: of the choices that were left to chance {effective[0]:.0f} began with the new order and "
            f"{effective[1]:.0f} with the old; {LEAST_EFFECTIVE:.0f} each are needed (gateway.explore_share)"
        )
    return Judged(
        tries=count, effective_new=round(effective[0], 1), effective_old=round(effective[1], 1), gain=round(gain, 4),
        unsure=round(unsure, 4), conclusive=conclusive, why=why,
    )  # fmt: skip


def _doubly_robust(one: Logged, target: str, guess: dict[str, float]) -> float:
    value = guess.get(target, guess[""])
    if one.action == target:
        value += min(1 / one.propensity, LARGEST_WEIGHT) * (one.reward - guess.get(one.action, guess[""]))
    return value


def _guesses(log: Sequence[Logged]) -> list[dict[str, float]]:
    """For each choice what the others say each candidate is worth there ("" for one nobody tried): its own outcome is
    left out, so that no choice judges itself."""
    sums: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(lambda: [0.0, 0.0]))
    for one in log:
        cell = sums[one.place][one.action]
        cell[0] += one.reward
        cell[1] += 1
    total, count = sum(one.reward for one in log), len(log)
    found = []
    for one in log:
        mean = (total - one.reward) / (count - 1) if count > 1 else 0.5
        guess = {"": mean}
        for action, (reward, tries) in sums[one.place].items():
            own = action == one.action
            left, number = (reward - one.reward, tries - 1) if own else (reward, tries)
            guess[action] = (left + PULL * mean) / (number + PULL)
        found.append(guess)
    return found


def _effective(log: Sequence[Logged]) -> float:
    weights = [min(1 / one.propensity, LARGEST_WEIGHT) for one in log]
    return sum(weights) ** 2 / sum(one * one for one in weights) if weights else 0.0
