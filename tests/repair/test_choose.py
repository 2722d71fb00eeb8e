"""The choice among patches that pass, as pure decisions."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from appliance.repair.accident import COMPUTING, FORCED, STEERING, accident, by_witnesses, steers
from appliance.repair.choose import (
    ALONE,
    DOCUMENTED,
    ELSEWHERE,
    WRITTEN,
    Cluster,
    certainty,
    clustered,
    differing,
    kept,
    laxness,
    weigh,
)
from appliance.repair.edits import Edit
from appliance.repair.localise import Fault
from appliance.repair.runner import documented
from appliance.repair.search import TAIL, Ahead, all_odds, far_down
from appliance.repair.source import Source
from appliance.repair.spectrum import Spectrum


def edit(name: str, score: float) -> Edit:
    return Edit("m.py", ((0, 1, name),), "constant", 1, score=score)


def test_patches_that_answer_alike_are_one() -> None:
    edits = [edit("a", -1.0), edit("b", -2.0), edit("c", -3.0)]
    answers = {0: {"f(1)": "1", "f(2)": "2"}, 1: {"f(1)": "1", "f(3)": "3"}, 2: {"f(1)": "9"}}
    found = clustered(edits, answers)
    assert [[one.spans[0][2] for one in cluster.edits] for cluster in found] == [["a", "b"], ["c"]]


def test_a_patch_without_answers_stands_alone() -> None:
    assert len(clustered([edit("a", -1.0), edit("b", -2.0)], {0: {"f(1)": "1"}})) == 2


def test_the_shortest_telling_input_comes_first() -> None:
    assert differing({"f(12)": "1", "f(1)": "1", "g()": "x"}, {"f(12)": "2", "f(1)": "2"}) == ["f(1)", "f(12)"]


def test_a_patch_that_crashes_on_new_inputs_loses_odds() -> None:
    sound = Cluster([edit("a", -2.0)], {"f(1)": "1", "f(2)": "2"})
    crashing = Cluster([edit("b", -1.5)], {"f(1)": "raises TypeError", "f(2)": "does not end"})
    clusters = [crashing, sound]
    weigh(clusters, -1.5, lambda _: 1.0)
    assert clusters[0] is sound


def test_an_error_that_is_an_answer_costs_nothing() -> None:
    one = Cluster([edit("a", -1.0)], {"f(1)": "raises ValueError"})
    other = Cluster([edit("b", -2.0)], {"f(1)": "3"})
    clusters = [other, one]
    weigh(clusters, -1.0, lambda _: 1.0)
    assert clusters[0] is one and clusters[0].odds == pytest.approx(1.0)


@pytest.mark.parametrize("table", [STEERING, COMPUTING])
@pytest.mark.parametrize(("few", "more"), [(1, 2), (3, 4), (6, 7)])
def test_a_wrong_edit_passes_the_seldomer_the_more_tests_run_it(
    table: tuple[tuple[int, float], ...], few: int, more: int
) -> None:
    assert by_witnesses(table, few) > by_witnesses(table, more)


@pytest.mark.parametrize("count", [1, 3, 6, 20])
def test_an_edit_that_steers_passes_by_accident_more_often_than_one_that_computes(count: int) -> None:
    assert by_witnesses(STEERING, count) > by_witnesses(COMPUTING, count)


TEXT = "def f(a, b):\n    if a > b:\n        return a - b\n    return 0\n"


@pytest.mark.parametrize(
    ("old", "new", "template", "steering"),
    [
        (">", "<", "comparison", True),
        ("a > b", "not (a > b)", "negated condition", True),
        ("a - b", "a + b", "arithmetic operator", False),
        ("    return 0\n", "", "deleted statement", True),
        ("0", "1", "constant", False),
        ("a - b", "a", "dropped operand", True),
    ],
)
def test_what_steers_is_told_from_what_computes(old: str, new: str, template: str, steering: bool) -> None:
    start = TEXT.index(old)
    changed = Edit("m.py", ((start, start + len(old), new),), template, TEXT.count("\n", 0, start) + 1)
    assert steers(Source("m.py", TEXT), changed) is steering


def test_a_patch_that_goes_against_an_example_which_another_keeps_to_loses_odds() -> None:
    example, old = DOCUMENTED + "m.f: f(1)", DOCUMENTED + "m.f: f(2)"
    against = Cluster([edit("a", -1.0)], {example: documented.OTHERWISE, old: documented.OTHERWISE})
    along = Cluster([edit("b", -2.0)], {example: WRITTEN, old: documented.OTHERWISE})
    clusters = [against, along]
    weigh(clusters, -1.0, lambda _: 1.0, kept([against.answers, along.answers]))
    assert clusters[0] is along and along.odds == pytest.approx(math.exp(-1.0))


def test_the_runner_and_the_choice_say_the_same_of_an_example() -> None:
    assert documented.WRITTEN == WRITTEN


def test_what_is_still_to_come_is_weighed_by_its_odds() -> None:
    ahead = Ahead([edit("a", 2.0), edit("b", 1.0), edit("c", 1.0), edit("d", -1.0)])
    assert ahead.odds(2.0) == pytest.approx(math.log(2 * math.exp(1.0) + math.exp(-1.0)))
    assert ahead.odds(1.0) == pytest.approx(-1.0)
    assert ahead.odds(-1.0) < -600.0


def test_of_two_patches_the_one_that_is_no_likely_accident_weighs_more() -> None:
    lucky, telling = Cluster([edit("a", -1.0)], {"f(1)": "1"}), Cluster([edit("b", -1.0)], {"f(1)": "2"})
    clusters = [lucky, telling]
    weigh(clusters, -1.0, lambda one: 0.01 if one.spans[0][2] == "a" else 0.001)
    assert clusters[0] is telling


def test_an_unlikely_patch_that_stands_alone_is_not_sure() -> None:
    assert certainty([1.0 / 0.001], elsewhere=ELSEWHERE * 50.0) > ALONE
    assert certainty([1.0 / 0.001], elsewhere=ELSEWHERE * 50_000.0) < ALONE


def test_tests_that_please_many_edits_say_less_and_those_that_please_one_of_thousands_more() -> None:
    assert laxness(others=3, tried=70, usual=0.001) > 3.0 > 1.0 > laxness(others=0, tried=5_000, usual=0.001)


def test_what_is_known_to_pass_by_accident_is_not_doubted_twice() -> None:
    assert laxness(others=3, tried=70, usual=FORCED) == 1.0


def test_the_odds_of_an_edit_far_down_are_those_of_its_place() -> None:
    edits = [edit(str(number), -float(number)) for number in range(40)]
    first, last = far_down([edits[0], edits[-1]], edits, all_odds(edits))
    assert first.score == 0.0
    assert last.score == pytest.approx(all_odds(edits) + math.log(TAIL / 40))


def test_an_edit_of_a_condition_that_may_as_well_be_constant_passes_by_accident() -> None:
    fault = Fault(Spectrum(), {"m.py": Source("m.py", TEXT)}, {})
    condition, value = edit("a >= b", 0.0), edit("a + b", 0.0)
    at = TEXT.index("a > b")
    condition = replace(condition, spans=((at, at + 5, "a >= b"),), line=2)
    at = TEXT.index("a - b")
    value = replace(value, spans=((at, at + 5, "a + b"),), line=3)
    assert accident(fault, condition, forced={("m.py", 2)}) == FORCED > accident(fault, condition)
    assert accident(fault, value, forced={("m.py", 3)}) == accident(fault, value)
