"""What a log says of another order: right on average, honest about its error, silent where nothing was by chance."""

from __future__ import annotations

import random

import pytest

from appliance.learning.offpolicy import Judged, Logged, compared
from appliance.learning.routing import Inside, Try, judge

WORTH = {("a", "small"): 0.9, ("a", "big"): 0.6, ("b", "small"): 0.4, ("b", "big"): 0.8}
"""Place and candidate → the chance that a try is worth 1."""


def logged(dice: random.Random, count: int, share: float) -> list[Logged]:
    """`big` first, but for a share of choices."""
    found = []
    for _ in range(count):
        place = dice.choice("ab")
        action = "small" if dice.random() < share else "big"
        chance = share if action == "small" else 1 - share
        found.append(Logged(place, action, chance, float(dice.random() < WORTH[place, action]), "big", "small"))
    return found


def judged(log: list[Logged]) -> Judged:
    return compared(log)


@pytest.mark.parametrize("share", [0.5, 0.1])
def test_the_gain_is_right_on_average_and_its_error_is_what_it_says(share: float) -> None:
    truth = (0.9 - 0.6 + 0.4 - 0.8) / 2
    found = [judged(logged(random.Random(seed), 400, share)) for seed in range(200)]
    assert abs(sum(one.gain for one in found) / len(found) - truth) < 0.02
    inside = sum(abs(one.gain - truth) <= 1.96 * one.unsure for one in found) / len(found)
    assert 0.88 <= inside <= 0.99, "95 % intervals hold the truth about so often"
    assert all(one.conclusive for one in found)


def test_an_order_for_each_place_is_judged_as_well_as_one_for_all() -> None:
    log = logged(random.Random(1), 4000, 0.5)
    better = compared([one._replace(new="small" if one.place == "a" else "big") for one in log])
    assert abs(better.gain - 0.15) < 3 * better.unsure < 0.1


def test_choices_that_could_not_have_been_others_say_nothing() -> None:
    sure = [Logged("a", "big", 1.0, 1.0, "big", "small")] * 500 + [Logged("a", "small", 1.0, 0.0, "big", "small")] * 500
    found = judged(sure)
    assert (found.tries, found.conclusive) == (0, False) and found.why.startswith("INCONCLUSIVE")
    few = judged(sure + logged(random.Random(2), 12, 0.5))
    assert not few.conclusive and few.tries == 12


def test_one_choice_that_was_hardly_possible_does_not_decide() -> None:
    log = [*logged(random.Random(3), 300, 0.5), Logged("a", "small", 1e-9, 1.0, "big", "small")]
    assert abs(judged(log).gain - judged(log[:-1]).gain) < 0.2


RULE = Inside(rule="r", order=("big", "small"), quality=1.0, cost=0.0, speed=0.0)


def tries(dice: random.Random, chances: dict[str, float], share: float | None) -> list[Try]:
    """First tries; where `share` is None the gateway told no chances, as in the time before it did."""
    found = []
    for n in range(300):
        name = "small" if dice.random() < (share or 0.5) else "big"
        chance = None if share is None else share if name == "small" else 1 - share
        found.append(Try(n * 60.0, "r", "", name, dice.random() < chances[name], 1.0, chance))
    return found


def test_an_order_that_chance_proves_is_published_with_the_proof() -> None:
    (verdict,) = judge(tries(random.Random(4), {"big": 0.4, "small": 0.9}, 0.3), [RULE])
    assert verdict.changes and verdict.offpolicy is not None and verdict.offpolicy.conclusive
    assert abs(verdict.offpolicy.gain - 0.5) < 4 * verdict.offpolicy.unsure


def test_an_order_that_choices_left_to_chance_speak_against_is_not_published() -> None:
    """`small` got the easy items, where nothing was left to chance; given the same items it is worse."""
    easy = [Try(n * 60.0, "r", "", "small", True, 1.0, 1.0) for n in range(300)]
    (verdict,) = judge([*tries(random.Random(5), {"big": 0.6, "small": 0.3}, 0.2), *easy], [RULE])
    assert not verdict.changes and verdict.order == RULE.order and "left to chance do not" in verdict.why


def test_outcomes_without_chances_still_teach_but_prove_nothing() -> None:
    (verdict,) = judge(tries(random.Random(6), {"big": 0.4, "small": 0.9}, None), [RULE])
    assert verdict.changes and verdict.offpolicy is not None and not verdict.offpolicy.conclusive


def test_one_slow_try_does_not_shrink_what_the_others_save() -> None:
    rule, dice, known = RULE.with_(quality=0.5, cost=0.5), random.Random(7), []
    for n in range(400):
        name, chance, seconds = ("small", 0.8, 10.0) if dice.random() < 0.5 else ("big", 0.9, 100.0)
        known.append(Try(n * 60.0, "r", "", name, dice.random() < chance, seconds, 0.5))
    known.append(Try(0.0, "r", "", "big", True, 1500.0, 0.5))
    (verdict,) = judge(known, [rule])
    assert verdict.changes and verdict.offpolicy is not None
    assert abs(verdict.offpolicy.gain - verdict.gain) < 3 * verdict.offpolicy.unsure, "both measure time alike"
