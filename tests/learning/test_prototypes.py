"""Fitting the prompt predictor."""

from __future__ import annotations

import numpy as np
import pytest

from appliance.errors import UsageError
from appliance.learning.prototypes import fit
from appliance.policy import Prototypes

MODELS = ("small", "big")


def world(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Prompts of two kinds: the small model does one as well as the big one, and fails at the other."""
    random = np.random.default_rng(seed)
    kind = random.integers(2, size=count)
    vectors = np.eye(16)[kind] + 0.2 * random.normal(size=(count, 16))
    chance = np.stack([np.where(kind == 0, 0.9, 0.2), np.full(count, 0.9)], axis=1)
    return vectors, (random.random((count, 2)) < chance).astype(float)


def fitted(vectors: np.ndarray, outcomes: np.ndarray, seed: int = 0) -> Prototypes:
    return fit(vectors, outcomes, MODELS, embedder="e", digest="d", characters=600, seed=seed)


def test_it_finds_out_which_prompts_need_the_big_model() -> None:
    made = fitted(*world(600, 1))
    easy, hard = made.quality(np.eye(16)[:2])
    assert hard[1] - hard[0] > easy[1] - easy[0] + 0.2


def test_outcomes_of_the_chosen_model_alone_are_enough() -> None:
    vectors, outcomes = world(1200, 2)
    outcomes[np.arange(1200), np.random.default_rng(3).integers(2, size=1200)] = np.nan
    easy, hard = fitted(vectors, outcomes).quality(np.eye(16)[:2])
    assert hard[1] - hard[0] > easy[1] - easy[0] + 0.2


def test_a_few_outcomes_hardly_move_it_from_the_mean() -> None:
    made = fitted(np.eye(2), np.array([[1.0, 1.0], [0.0, 1.0]]))
    assert np.abs(made.quality(np.eye(2))[:, 0] - 0.5).max() < 0.05


def test_the_same_seed_gives_the_same_bytes() -> None:
    assert fitted(*world(200, 4), seed=5) == fitted(*world(200, 4), seed=5)
    assert fitted(*world(200, 4), seed=5) != fitted(*world(200, 4), seed=6)


def test_a_model_without_any_outcome_is_named() -> None:
    with pytest.raises(UsageError, match="no outcome of big"):
        fitted(np.eye(2), np.array([[1.0, np.nan], [0.0, np.nan]]))
    with pytest.raises(UsageError, match="do not fit together"):
        fitted(np.eye(2), np.zeros((3, 2)))
