"""What replayed tasks show, and what they are too few to show."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.line.replay.scores import comparison, in_words, mcnemar, needed, summary, verdict, wilson
from appliance.line.replay.slips import mutants
from appliance.line.replay.tasks import Tried

CODE = '''"""Prices."""


def total(lines, rate):
    """Sum with tax."""
    amount = 0
    for line in lines:
        if line > 0 and rate >= 0:
            amount += line * rate
    return round(amount, 2)
'''


def row(task: str, contender: str, selected: bool, wrong: bool = False, **more: object) -> Tried:
    outcome = "plausible" if selected or wrong else "none"
    values = {
        "repo": "shop",
        "run": 1,
        "task": task,
        "kind": "slip",
        "contender": contender,
        "outcome": outcome,
        **more,
    }
    return Tried.model_validate({**values, "selected": selected, "wrong": wrong})


@pytest.mark.parametrize(
    ("right", "of", "low", "high"), [(0, 0, 0, 1), (0, 10, 0, 0.2775), (10, 10, 0.7225, 1), (50, 100, 0.4038, 0.5962)]
)
def test_a_share_has_wilsons_interval(right: int, of: int, low: float, high: float) -> None:
    assert wilson(right, of) == pytest.approx((low, high), abs=5e-4)


@given(st.integers(0, 200), st.integers(0, 200))
def test_an_interval_holds_its_share_and_the_paired_test_does_not_care_who_is_named_first(one: int, other: int) -> None:
    low, high = wilson(one, one + other)
    assert 0 <= low <= high <= 1
    if one + other:
        assert low - 1e-12 <= one / (one + other) <= high + 1e-12
    assert mcnemar(one, other) == mcnemar(other, one) <= 1


def test_a_difference_is_said_only_when_chance_would_hardly_make_it() -> None:
    assert needed() == 6
    assert verdict("new", "old", 5, 0, 50).startswith("too little to say: new alone solved 5 of 50 tasks")
    assert verdict("new", "old", 6, 0, 50).startswith("new is better")
    assert verdict("new", "old", 1, 9, 50).startswith("old is better")
    assert verdict("new", "old", 5, 5, 50).startswith("no difference can be shown")


def test_two_contenders_are_compared_on_the_tasks_both_tried() -> None:
    rows = [
        row("a", "x", True, tried=2),
        row("a", "y", False, tried=8),
        row("b", "x", True),
        row("b", "y", True),
        row("c", "x", True),
    ]
    told = comparison("x", "y", rows)
    assert (told["tasks"], told["both"], told["only_one"], told["only_other"]) == (2, 1, 1, 0)
    assert told["spent"]["candidates"] == [2, 8]
    assert told["words"].endswith("; x took 75 % fewer candidates (2 against 8)")


def test_what_would_ship_wrong_is_counted_among_what_would_ship() -> None:
    rows = [
        row("a", "x", True, first=True, prompt_tokens=10, completion_tokens=5, held=1),
        row("b", "x", False, wrong=True),
        row("c", "x", False),
    ]
    told = summary("x", rows)
    assert (told["first"]["right"], told["selected"]["right"], told["tokens"]) == (1, 1, 15)
    assert (told["false_accepts"]["right"], told["false_accepts"]["of"]) == (1, 2)
    words = "\n".join(in_words(told))
    assert "right in what it would ship: 1 of 3, 33 %" in words and "2 task(s) no failing test" in words
    assert "nothing to say yet" in "\n".join(in_words(summary("y", [])))


def test_slips_are_the_same_for_the_same_seed_and_each_is_code_that_differs() -> None:
    made = mutants(CODE, lambda line: True, random.Random(3), 30)
    assert made == mutants(CODE, lambda line: True, random.Random(3), 30)
    assert made != mutants(CODE, lambda line: True, random.Random(4), 30)
    assert len({one.kind for one in made}) >= 5
    for one in made:
        compile(one.text, "prices.py", "exec")
        assert one.text != CODE and one.text.split("\n")[one.line - 1].strip() == one.after
