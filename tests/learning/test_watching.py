"""A promoted policy is taken back when first tries hold less often; chance alone seldom does it."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from appliance.config import Home
from appliance.learning.policies import SUBJECT, Policies
from appliance.learning.routing import Place
from appliance.learning.watching import expected, watch, worse
from appliance.ledger import open_ledger


def held(dice: random.Random, count: int, chance: float) -> list[bool]:
    return [dice.random() < chance for _ in range(count)]


def test_a_fall_is_noticed_soon_and_chance_alone_seldom_does_it() -> None:
    dice = random.Random(1)
    fell = [worse([(0.8, one) for one in held(dice, 120, 0.5)]) for _ in range(200)]
    same = [worse([(0.8, one) for one in held(dice, 400, 0.8)]) for _ in range(200)]
    assert sum(map(bool, fell)) >= 195 and sum(map(bool, same)) <= 20


def test_a_fall_after_a_long_good_time_is_noticed_as_soon() -> None:
    dice = random.Random(2)
    late = [worse([(0.8, one) for one in held(dice, 300, 0.8) + held(dice, 60, 0.3)]) for _ in range(200)]
    assert sum(map(bool, late)) >= 190


def test_a_policy_is_held_to_what_it_promised() -> None:
    cells = [
        {"rule": "r", "repo": "", "order": ["cheap", "good"], "candidates": [
            {"candidate": "cheap", "quality": 0.7, "unsure": 0.05},
            {"candidate": "good", "quality": 0.95, "unsure": 0.01}]},
        {"rule": "r", "repo": "core", "order": ["good", "cheap"], "candidates": [
            {"candidate": "good", "quality": 0.9, "unsure": 0.02}]},
        {"rule": "s", "repo": "", "order": ["search"], "candidates": []},
    ]  # fmt: skip
    assert {cell: round(chance, 2) for cell, chance in expected(cells).items()} == {
        Place("r"): 0.65,
        Place("r", repo="core"): 0.88,
    }


@pytest.mark.parametrize(("now", "stays"), [(0.9, True), (0.2, False)], ids=["as good", "worse"])
def test_a_policy_whose_rules_do_worse_is_rolled_back_by_itself(tmp_path: Path, now: float, stays: bool) -> None:
    home = Home(tmp_path)
    for folder in home.folders:
        folder.mkdir(parents=True)
    ledger = open_ledger(home)
    policies = Policies(home, ledger)
    policies.publish([{"rule": "r", "task": "repair", "order": ["b", "a"], "evidence": 9}], [], datetime.now(UTC))
    policies.promote(1, "ada")
    dice, at = random.Random(2), datetime.now(UTC).timestamp()

    def rows(_sql: str, _given: dict[str, Any], _seconds: float) -> list[dict[str, Any]]:
        past = [
            {"at": at - 9000 + n, "rule": "r", "language": "", "repo": "shop", "held": one}
            for n, one in enumerate(held(dice, 100, 0.9))
        ]
        since = [
            {"at": at + 60 + n, "rule": "r", "language": "", "repo": "shop", "held": one}
            for n, one in enumerate(held(dice, 60, now))
        ]
        elsewhere = [
            {"at": at + 60 + n, "rule": "other", "language": "", "repo": "shop", "held": False} for n in range(60)
        ]
        return [*since, *elsewhere, *past][::-1]

    why = watch(policies, ledger, lambda *asked: sorted(rows(*asked), key=lambda row: -float(row["at"])), 5.0)
    assert (policies.current() == 1, why == "") == (stays, stays)
    last = ledger.history(SUBJECT)[-1]
    assert stays or (last.kind, last.payload["by"], last.payload["why"]) == ("PolicyRolledBack", "learning", why)
    ledger.close()
