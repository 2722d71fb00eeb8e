"""Another candidate first, now and then: as likely as it says, within its budget, never where much is at stake."""

from __future__ import annotations

import random
from collections import Counter
from datetime import date
from typing import Any

import pytest

from inference.asked import RouteRequest
from inference.exploring import Explorer, dice_of
from inference.router import Decision

AMONG = ("a", "b", "c")
PLAIN = Decision(task="repair", candidates=("a", "b", "c", "last resort"), rule="r", learning="apply")
FIRST = RouteRequest(task="repair", attempt=1, severity=3)
DAY = date(2026, 11, 26)


def explorer(share: float, seed: int = 1) -> Explorer:
    return Explorer(share, random.Random(seed), lambda: DAY)


def test_propensities_are_what_happens() -> None:
    ours = explorer(0.2)
    made = [ours.choose(PLAIN, AMONG, FIRST) for _ in range(20_000)]
    drawn = [one for one in made if one.propensity < 1]
    first = Counter(one.candidates[0] for one in drawn)
    said = {one.candidates[0]: one.propensity for one in drawn}
    assert said == {"a": 0.8, "b": 0.1, "c": 0.1}
    assert first["a"] + first["b"] + first["c"] == len(drawn) > 10_000
    # each candidate is worth the same to an estimate that weighs by one over its propensity
    assert all(first[name] / len(drawn) == pytest.approx(said[name], rel=0.25) for name in AMONG)


def test_with_a_seed_the_same_is_drawn_at_every_start_and_without_one_it_is_chance() -> None:
    drawn = [[dice_of(seed).random() for _ in range(2)] for seed in (5, 6, 0)]
    assert [*map(len, map(set, drawn))] == [1, 1, 2] and drawn[0] != drawn[1]


def test_the_budget_of_a_day_is_kept_at_every_moment() -> None:
    ours, explored = explorer(0.1, seed=3), 0
    for n in range(1, 2000):
        explored += ours.choose(PLAIN, AMONG, FIRST).explored
        assert explored <= 0.1 * n + 1


@pytest.mark.parametrize(
    ("decision", "asked"),
    [
        ({}, {"severity": 1}), ({}, {"severity": 0}), ({}, {"attempt": 2}), ({}, {"attempt": 0}),
        ({"learning": "observe"}, {}), ({"learning": "off"}, {}), ({"model": "auto:cost"}, {}), ({"model": "a"}, {}),
        ({"candidates": ("a", "last resort")}, {}), ({"candidates": ()}, {}),
    ],
)  # fmt: skip
def test_where_nothing_is_tried_out(decision: dict[str, Any], asked: dict[str, Any]) -> None:
    plain, ours = PLAIN.with_(**decision), explorer(0.5)
    assert all(ours.choose(plain, AMONG, FIRST.with_(**asked)) == plain for _ in range(50))


def test_nobody_becomes_eligible_and_the_reason_is_said() -> None:
    ours = explorer(0.5)
    tried = [one for one in (ours.choose(PLAIN, AMONG, FIRST) for _ in range(50)) if one.explored]
    assert tried and all(sorted(one.candidates) == sorted(PLAIN.candidates) for one in tried)
    assert all(one.candidates[-1] == "last resort" and "to learn how good it is" in one.reasons[-1] for one in tried)


def test_the_same_seed_draws_the_same_and_no_share_draws_nothing() -> None:
    one, two = explorer(0.3, 5), explorer(0.3, 5)
    assert [one.choose(PLAIN, AMONG, FIRST) for _ in range(99)] == [two.choose(PLAIN, AMONG, FIRST) for _ in range(99)]
    assert explorer(0.0).choose(PLAIN, AMONG, FIRST) is PLAIN
