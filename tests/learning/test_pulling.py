"""The pull that is estimated is the one outcomes were drawn with, and estimates with it are nearer the truth."""

from __future__ import annotations

import random
from statistics import fmean, median

import pytest

from appliance.learning.pulling import LEAST, MOST, USUAL, Cell, pull_of


def cell(outcomes: list[bool], weight: float = 1.0) -> Cell:
    made = Cell()
    for held in outcomes:
        made.add(weight, held)
    return made


def drawn(dice: random.Random, pull: float, cells: int, size: int, mean: float = 0.6) -> dict[str, tuple[float, Cell]]:
    """Cells by name, each with its true share."""
    shares = [dice.betavariate(mean * pull, (1 - mean) * pull) for _ in range(cells)]
    return {str(n): (share, cell([dice.random() < share for _ in range(size)])) for n, share in enumerate(shares)}


@pytest.mark.parametrize("pull", [3.0, 8.0, 30.0])
def test_the_pull_that_outcomes_were_drawn_with_is_found(pull: float) -> None:
    found = [
        pull_of([{name: one for name, (_, one) in drawn(random.Random(seed), pull, 60, 40).items()}])
        for seed in range(30)
    ]
    assert median(found) == pytest.approx(pull, rel=0.25)


@pytest.mark.parametrize(("pull", "at_least"), [(1e6, 0.2), (2.0, 0.05)])
def test_estimates_are_nearer_the_truth_than_with_the_usual_pull(pull: float, at_least: float) -> None:
    def error(known: dict[str, tuple[float, Cell]], used: float) -> float:
        mean = sum(one.held for _, one in known.values()) / sum(one.weight for _, one in known.values())
        return fmean(((one.held + used * mean) / (one.weight + used) - share) ** 2 for share, one in known.values())

    worlds = [drawn(random.Random(seed), pull, 12, 20) for seed in range(40)]
    fitted = fmean(error(one, pull_of([{name: each for name, (_, each) in one.items()}])) for one in worlds)
    assert fitted < (1 - at_least) * fmean(error(one, USUAL) for one in worlds)


def test_it_stays_within_its_bounds() -> None:
    alike = [{str(n): cell([True, False] * 500) for n in range(200)}]
    apart = [{"a": cell([True] * 500), "b": cell([False] * 500)}]
    assert (pull_of(alike), pull_of(apart)) == (MOST, LEAST)


@pytest.mark.parametrize(
    "groups", [[], [{}], [{"a": cell([True] * 9 + [False])}], [{"a": cell([True] * 9), "b": cell([True])}]]
)
def test_where_nothing_tells_of_the_spread_it_is_the_usual_one(groups: list[dict[str, Cell]]) -> None:
    assert pull_of(groups) == USUAL


def test_a_few_outcomes_hardly_move_it() -> None:
    assert USUAL / 2 < pull_of([{"a": cell([True, True]), "b": cell([False])}]) < 2 * USUAL


def test_faded_outcomes_are_worth_as_many_as_they_vary_like() -> None:
    assert cell([True] * 8, weight=0.5).size == pytest.approx(8.0)
    mixed = cell([True] * 4)
    mixed.add(0.1, held=False)
    assert 4.0 < mixed.size < 5.0 and mixed.share == pytest.approx(4 / 4.1)
