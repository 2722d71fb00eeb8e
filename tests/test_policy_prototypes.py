"""The prompt predictor: what it says is bounded by what was seen, and a damaged one is refused whole."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from appliance.policy import Prototypes, packed, shares, unit

CENTRES = np.array([[[1, 0], [0, 1]]])
MEANS = np.array([[[0.9, 0.1], [0.2, 0.8]]])


def predictor(**changes: object) -> Prototypes:
    known = {
        "embedder": "e", "characters": 100, "dimensions": 2, "groupings": 1, "nearness": 0.05, "models": ("a", "b"),
        "centres": packed(CENTRES, "<f2"), "means": packed(MEANS, "<f4"),
    }  # fmt: skip
    return Prototypes.model_validate(known | changes)


def test_a_prompt_has_the_quality_of_the_group_it_lies_in() -> None:
    np.testing.assert_allclose(predictor().quality([[5.0, 0.0]]), [[0.9, 0.1]], atol=1e-6)
    np.testing.assert_allclose(predictor().quality([1.0, 1.0]), [[0.55, 0.45]], atol=1e-6)


def test_it_is_the_same_after_a_way_through_json() -> None:
    again = Prototypes.model_validate_json(predictor().model_dump_json())
    np.testing.assert_array_equal(again.quality([[1.0, 2.0]]), predictor().quality([[1.0, 2.0]]))


def test_a_vector_of_another_embedder_is_refused() -> None:
    with pytest.raises(ValueError, match="3 dimensions, not 2"):
        predictor().quality([[1.0, 0.0, 0.0]])


@pytest.mark.parametrize(
    "changes",
    [
        {"centres": "%%%"}, {"centres": packed(CENTRES[:, :1], "<f2")}, {"dimensions": 3}, {"groupings": 3},
        {"means": packed(MEANS * np.nan, "<f4")}, {"centres": "", "means": ""}, {"nearness": 0.0}, {"models": ("a",)},
    ],
    ids=["no base64", "a centre too few", "wrong dimensions", "wrong groupings", "not finite", "empty", "no nearness",
         "a model too few"],
)  # fmt: skip
def test_numbers_that_do_not_fit_together_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        predictor(**changes)


def test_shares_add_up_to_one_and_nothing_has_a_direction_of_its_own() -> None:
    rows = unit([[3.0, 4.0], [0.0, 0.0]])
    assert np.linalg.norm(rows, axis=1).tolist() == pytest.approx([1.0, 0.0])
    np.testing.assert_allclose(shares(rows, unit(CENTRES[0]), 0.05).sum(axis=1), [1.0, 1.0], rtol=1e-6)
