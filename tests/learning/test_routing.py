"""What outcomes say of a rule's order: better ones win, noise and too little change nothing."""

from __future__ import annotations

import random

from appliance.learning.pulling import USUAL
from appliance.learning.routing import Inside, Try, Verdict, judge, preferences, pulls_of

RULE = Inside(rule="r", order=("search", "small", "big"), quality=1.0, cost=0.0, speed=0.0)
DAY = 86_400.0


def tries(
    dice: random.Random, count: int, chances: dict[str, float], rule: str = "r", seconds: float = 10, repo: str = ""
) -> list[Try]:
    return [Try(n * 60.0, rule, repo, name, dice.random() < chance, seconds) for name, chance in chances.items()
            for n in range(count)]  # fmt: skip


def of(known: list[Try], rule: Inside = RULE) -> Verdict:
    return judge(known, [rule])[0]


def test_a_clearly_better_candidate_comes_first() -> None:
    verdict = of(tries(random.Random(1), 100, {"small": 0.3, "big": 0.9}))
    assert verdict.changes and verdict.order == ("search", "big", "small")  # search has no outcomes: it stays
    assert preferences([verdict]) == [
        {"rule": "r", "task": "repair", "language": "", "repo": "", "order": ["search", "big", "small"],
         "evidence": 200}
    ]  # fmt: skip


def test_noise_rarely_changes_an_order() -> None:
    changed = sum(of(tries(random.Random(seed), 60, {"small": 0.6, "big": 0.6})).changes for seed in range(200))
    assert changed <= 10  # one in twenty at most


def test_too_few_outcomes_change_nothing_and_say_so() -> None:
    verdict = of([Try(0, "r", "", "small", False, 1)] * 4 + [Try(0, "r", "", "big", True, 1)] * 50)
    assert not verdict.changes and "fewer than two candidates" in verdict.why


def test_other_rules_tell_of_a_candidate_that_this_one_hardly_tried() -> None:
    known = tries(random.Random(3), 200, {"small": 0.2, "big": 0.95}, rule="other")
    verdict = of(known)
    assert [round(one.quality, 1) for one in verdict.candidates] == [0.2, 0.9] or verdict.candidates[1].quality > 0.8
    assert all(one.unsure > 0.05 and one.tries == 0 for one in verdict.candidates)


def test_cost_counts_as_the_rule_weighs_it_and_search_costs_no_model() -> None:
    cheap = RULE.with_(order=("big", "search"), quality=0.3, cost=0.7)
    known = tries(random.Random(4), 100, {"big": 0.9, "search": 0.7})
    assert of(known, cheap).order == ("search", "big")
    assert of(known, cheap.with_(quality=1.0, cost=0.0)).order == ("big", "search")


def test_cost_is_model_seconds_without_tests_and_waiting_and_tokens_have_a_weight_of_their_own() -> None:
    dice = random.Random(8)
    known = [
        one._replace(
            seconds=100.0 if one.candidate == "big" else 60.0, model_seconds=2.0 if one.candidate == "big" else 40.0,
            tokens=9000.0 if one.candidate == "big" else 300.0, waited=0.5,
        )
        for one in tries(dice, 100, {"small": 0.8, "big": 0.8})
    ]  # fmt: skip
    thrifty = RULE.with_(order=("small", "big"), quality=0.3, cost=0.7)
    verdict = of(known, thrifty)
    assert verdict.order == ("big", "small"), "its tests take long, its model does not"
    assert of(known, thrifty.with_(order=("big", "small"), cost=0.0, tokens=0.7)).order == ("small", "big")
    small = next(one for one in verdict.candidates if one.candidate == "small")
    assert (small.model_seconds, small.tokens, small.waited_seconds) == (40.0, 300.0, 0.5)


def test_what_nobody_told_is_left_out_of_a_mean_and_not_taken_for_nought() -> None:
    known = tries(random.Random(9), 40, {"small": 0.8, "big": 0.8})
    half = [one._replace(tokens=500.0, model_seconds=4.0) if n % 2 else one for n, one in enumerate(known)]
    small, big = of(half).candidates[0], of(known).candidates[1]
    assert small.tokens == 500.0 and small.model_seconds == 7.0, "a try that tells of no model-seconds has its seconds"
    assert big.tokens is None and big.waited_seconds is None and big.model_seconds == 10.0


def test_a_language_has_its_own_order_and_a_repository_in_it_begins_with_that() -> None:
    dice = random.Random(11)
    python = tries(dice, 80, {"small": 0.3, "big": 0.9}, repo="core")
    script = [one._replace(language="javascript") for one in tries(dice, 80, {"small": 0.95, "big": 0.3}, repo="web")]
    known = [*(one._replace(language="python") for one in python), *script]
    verdicts = judge(known, [RULE])
    assert {(one.language, one.repo): one.order for one in verdicts if one.language or one.repo} == {
        ("python", ""): ("search", "big", "small"),
    }, "the repository core is all the Python there is: nothing is left to say of it"
    assert preferences(verdicts)[-1]["language"] == "python"
    assert judge(python, [RULE]) == judge([one._replace(language="python") for one in python], [RULE])


def test_old_outcomes_fade() -> None:
    dice = random.Random(5)
    past = tries(dice, 150, {"small": 0.9, "big": 0.4})
    since = [one._replace(at=one.at + 400 * DAY) for one in tries(dice, 150, {"small": 0.3, "big": 0.9})]
    assert of(past).order == RULE.order and of(past + since).order == ("search", "big", "small")


def test_a_repository_has_its_own_order_where_its_outcomes_say_so() -> None:
    dice = random.Random(6)
    known = tries(dice, 60, {"small": 0.3, "big": 0.9}, repo="core") + tries(
        dice, 60, {"small": 0.95, "big": 0.4}, repo="shop"
    )
    known += tries(dice, 60, {"small": 0.3, "big": 0.9}, repo="wms") + tries(dice, 2, {"small": 0.0}, repo="new")
    verdicts = judge(known, [RULE])
    assert [(one.repo, one.order) for one in verdicts] == [
        ("", ("search", "big", "small")), ("shop", ("search", "small", "big")),
    ]  # fmt: skip
    assert [(one["repo"], one["evidence"]) for one in preferences(verdicts)] == [("", 362), ("shop", 120)]


def test_repositories_that_are_alike_count_for_one_another_and_those_that_are_not_do_not() -> None:
    chances = {"small": 0.5, "big": 0.8}
    alike = [one for n in range(6) for one in tries(random.Random(n), 40, chances, repo=f"r{n}")]
    swapped = {"small": 0.95, "big": 0.1}
    apart = [one for n in range(6) for one in tries(random.Random(n), 40, (chances, swapped)[n % 2], repo=f"r{n}")]
    ones = [1.0] * len(alike)
    assert pulls_of(alike, ones).repo > 2 * USUAL and pulls_of(apart, ones).repo < USUAL / 2
    assert pulls_of(alike, ones).rule == USUAL, "one rule tells nothing of how unlike rules are"
    own = {one.repo: one for one in judge(apart, [RULE]) if one.repo}
    assert set(own) == {"r1", "r3", "r5"} or set(own) == {"r0", "r2", "r4"}
    assert all(one.pull == round(pulls_of(apart, ones).repo, 2) for one in own.values())
