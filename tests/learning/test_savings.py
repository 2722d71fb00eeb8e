"""What the learned policy saved: counted where it was followed, and nowhere else."""

from __future__ import annotations

from typing import Any

from appliance.learning.savings import saved

SMALL = {"candidate": "small", "seconds": 2.0, "model_seconds": 1.0, "tokens": 300.0}
LARGE = {"candidate": "large", "seconds": 20.0, "model_seconds": 15.0, "tokens": 5300.0}
CELL: dict[str, Any] = {
    "rule": "repair", "repo": "", "before": ["large", "small"], "order": ["small", "large"], "changes": True,
    "candidates": [SMALL, LARGE],
}  # fmt: skip


def row(chosen: str = "small", choices: int = 100, **more: Any) -> dict[str, Any]:
    return {"week": "2026-11-23", "rule": "repair", "language": "python", "repo": "shop", "version": 3,
            "chosen": chosen, "choices": choices, "explored": 0, **more}  # fmt: skip


def test_choices_that_followed_a_version_are_summed_by_week_in_seconds_seconds_of_models_and_tokens() -> None:
    first, second = saved([row(), row(repo="api"), row(week="2026-11-30", choices=50)], {3: [CELL]})
    assert (first.week, first.choices, first.seconds, first.model_seconds, first.tokens) == (
        "2026-11-23", 200, 3600.0, 2800.0, 1_000_000.0,
    )  # fmt: skip
    assert (second.week, second.choices, second.seconds) == ("2026-11-30", 50, 900.0)


def test_what_did_not_follow_it_or_has_no_times_is_not_counted() -> None:
    assert saved([row("large"), row(version=4), row(rule="other"), row(explored=100)], {3: [CELL]}) == []
    assert saved([row()], {3: [{**CELL, "changes": False}]}) == []
    assert saved([row()], {3: [{**CELL, "candidates": [SMALL]}]}) == []
    for broken in (None, "no list", [None, 3], {"rules": 1}, [{"rule": 1}]):
        assert saved([row()], {3: broken}) == []


def test_what_an_older_release_did_not_tell_is_not_known_and_not_nought() -> None:
    bare = [{name: each[name] for name in ("candidate", "seconds")} for each in (SMALL, LARGE)]
    [week] = saved([row()], {3: {"rules": [{**CELL, "candidates": bare}]}})
    assert (week.seconds, week.model_seconds, week.tokens) == (1800.0, None, None)


def test_the_narrowest_order_counts_and_a_slower_one_is_a_loss() -> None:
    back = {**CELL, "before": ["small", "large"], "order": ["large", "small"]}
    for narrow in ({"repo": "shop"}, {"language": "python"}):
        both = {3: [CELL, {**back, **narrow}]}
        assert saved([row("small")], both) == [], "here the version says large"
        assert saved([row("large")], both)[0].seconds == -1800.0
    assert saved([row("small")], {3: [CELL, {**back, "language": "go"}]})[0].seconds == 1800.0
