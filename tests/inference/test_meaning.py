"""A policy that goes by what a text means: the caller brings the vector, the rule still says who may answer."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from appliance.learning.prototypes import fit
from appliance.policy import Meaning, Predictor
from inference import rules
from inference.asked import RouteRequest
from inference.policy import Learned, Policy, Standing
from inference.router import Decision, decide
from tests.inference.catalogues import stocked_box

EASY, HARD = [1.0, 0.0], [0.0, 1.0]
ORDER = {"rule": "r", "order": ["coder-32b", "coder-7b"], "evidence": 40}


def predictor(**more: Any) -> Predictor:
    """The small model suffices for the easy ones, and for no others."""
    vectors = np.array([EASY, HARD] * 2000)
    held = np.array([[1.0, 1.0], [0.0, 1.0]] * 2000)
    quality = fit(vectors, held, ("coder-7b", "coder-32b"), embedder="mini", digest="ab", characters=10)
    made = {"rule": "r", "task": "repair", "quality": quality, "seconds": {"coder-7b": 1.0, "coder-32b": 9.0}}
    return Predictor.model_validate(made | more)


def learned(*predictors: Predictor) -> Learned:
    policy = Policy.model_validate(
        {"format": 2, "version": 7, "made": datetime.now(UTC), "preferences": [ORDER], "predictors": predictors}
    )
    return Learned(policy=policy, standing=Standing.IN_USE, why="")


def ask(vector: list[float] | None, known: Learned, learning: str = "apply", **maker: str) -> Decision:
    text = (
        f'[[rule]]\nname="r"\ncandidates=["search","coder-7b","coder-32b"]\nlearning="{learning}"\n'
        'when.task="repair"\nobjective={quality=0.7,cost=0.3,speed=0.0}'
    )
    meaning = Meaning.of(vector, **{"embedder": "mini", "digest": "ab"} | maker) if vector else None
    request = RouteRequest(task="repair")
    return decide(request, rules.parse(text, stocked_box()), stocked_box(), known, meaning)


def test_each_text_goes_to_who_is_worth_most_on_such_and_the_reason_says_so() -> None:
    easy, hard = (ask(vector, learned(predictor())) for vector in (EASY, HARD))
    assert easy.candidates == ("search", "coder-7b", "coder-32b"), "search keeps its place: nothing was learned of it"
    assert hard.candidates == ("search", "coder-32b", "coder-7b")
    [why] = hard.reasons
    assert why.startswith("ordered by policy 7, by what the text means: coder-32b would hold in 100 %")


def test_without_a_vector_or_with_another_models_the_order_of_the_rule_decides() -> None:
    for vector, maker in ((None, {}), (EASY, {"digest": "cd"}), (EASY, {"embedder": "maxi"}), ([1.0, 0.0, 0.0], {})):
        decision = ask(vector, learned(predictor()), **maker)
        assert decision.candidates == ("search", "coder-32b", "coder-7b")
        assert decision.reasons == ("ordered by policy 7, learned from 40 outcomes",)


def test_observe_only_tells_and_off_takes_no_notice() -> None:
    observed = ask(HARD, learned(predictor()), "observe")
    assert observed.candidates == ("search", "coder-7b", "coder-32b")
    assert observed.suggested == ("search", "coder-32b", "coder-7b")
    assert ask(HARD, learned(predictor()), "off").candidates == ("search", "coder-7b", "coder-32b")


def test_nobody_is_named_whom_the_rule_does_not_name() -> None:
    stranger = learned(predictor(rule="other"))
    assert ask(EASY, stranger).reasons == ("ordered by policy 7, learned from 40 outcomes",)


@pytest.mark.parametrize(
    "more", [{"seconds": {"coder-7b": 1.0}}, {"seconds": {"coder-7b": -1.0, "coder-32b": 1.0}}, {"rule": ""}]
)
def test_a_predictor_with_parts_that_do_not_fit_is_refused(more: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        predictor(**more)


@pytest.mark.parametrize(
    "said",
    [
        {}, {"embedder": "m", "numbers": "%%"}, {"embedder": "m", "numbers": ""}, {"embedder": "", "numbers": "ADw="},
        {"embedder": "m", "numbers": "AAA="}, {"embedder": "m", "numbers": "AHw="}, {"embedder": "m", "numbers": "A"},
        {"embedder": "m", "numbers": "ADw=", "text": "no"}, {"embedder": "m", "numbers": "ADw8" * 6000},
    ],
)  # fmt: skip
def test_what_is_no_vector_is_refused(said: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        Meaning.model_validate(said)


def test_a_vector_keeps_its_direction_on_the_way() -> None:
    vector = np.random.default_rng(3).normal(size=384)
    vector /= np.linalg.norm(vector)
    kept = Meaning.model_validate_json(Meaning.of(vector, "m", "d").model_dump_json()).vector
    assert float(kept @ vector) == pytest.approx(1.0, abs=1e-4)
