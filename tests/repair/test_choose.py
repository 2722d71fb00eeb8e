"""The choice among patches that pass, as pure decisions."""

from __future__ import annotations

import pytest

from appliance.repair.choose import ACCIDENT, SURE, Cluster, by_witnesses, certainty, clustered, differing, weigh
from appliance.repair.edits import Edit


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
    weigh(clusters, -1.5)
    assert clusters[0] is sound


def test_an_error_that_is_an_answer_costs_nothing() -> None:
    one = Cluster([edit("a", -1.0)], {"f(1)": "raises ValueError"})
    other = Cluster([edit("b", -2.0)], {"f(1)": "3"})
    clusters = [other, one]
    weigh(clusters, -1.0)
    assert clusters[0] is one and clusters[0].odds == pytest.approx(1.0)


@pytest.mark.parametrize(("few", "more"), [(1, 2), (3, 4)])
def test_fewer_witnesses_need_a_larger_share(few: int, more: int) -> None:
    assert by_witnesses(SURE, few) > by_witnesses(SURE, more)
    assert by_witnesses(ACCIDENT, few) > by_witnesses(ACCIDENT, more)


def test_an_unlikely_patch_that_stands_alone_is_not_sure() -> None:
    assert certainty([1.0], 2, everything=50.0) > by_witnesses(SURE, 2)
    assert certainty([1.0], 2, everything=5000.0) < by_witnesses(SURE, 2)


def test_more_tests_make_the_same_patch_surer() -> None:
    assert certainty([1.0], 1, 1000.0) < certainty([1.0], 3, 1000.0) < certainty([1.0], 10, 1000.0)
