"""Fits the prompt predictor of `appliance.policy` to outcomes. Deterministic by seed.

Measured on RouteLLM's MMLU table (`make bench-router`); the help page "What the box learns" tells what else was tried.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from appliance.errors import UsageError
from appliance.policy import Matrix, Prototypes, packed, shares, unit

GROUPINGS = 6
NEARNESS = 0.06
PULL = 20.0
"""Outcomes that a model's mean over all prompts counts in each group."""
ROUNDS = 10


def fit(
    vectors: Any, outcomes: Any, models: Sequence[str], *, embedder: str, digest: str, characters: int, seed: int = 0
) -> Prototypes:
    """The predictor of outcomes (prompts × models, from 0 to 1; NaN where a model was not asked).

    Raises UsageError when there is nothing to fit, or a model has no outcome at all.
    """
    rows = unit(vectors)
    results = np.asarray(outcomes, dtype=np.float64)
    if results.shape != (len(rows), len(models)) or not len(rows):
        raise UsageError("vectors, outcomes and models do not fit together", "one row for each prompt")
    known = ~np.isnan(results)
    counted = known.sum(axis=0)
    if not counted.all():
        silent = ", ".join(model for model, count in zip(models, counted, strict=True) if not count)
        raise UsageError(f"there is no outcome of {silent}", "leave out models that were never asked")
    values = np.where(known, results, 0.0)
    overall = values.sum(axis=0) / counted
    random = np.random.default_rng(seed)
    centres, means = [], []
    groups = groups_for(int(counted.mean()))
    for _ in range(GROUPINGS):
        own = grouped(rows, groups, random).astype(np.float16).astype(np.float32)
        belongs = shares(rows, own, NEARNESS)
        weight = belongs.T @ known
        means.append((belongs.T @ values + PULL * overall) / (weight + PULL))
        centres.append(own)
    return Prototypes(
        embedder=embedder, digest=digest, characters=characters, dimensions=rows.shape[1], groupings=GROUPINGS,
        nearness=NEARNESS, models=tuple(models), centres=packed(centres, "<f2"), means=packed(means, "<f4"),
        evidence=int(counted.sum()),
    )  # fmt: skip


def groups_for(outcomes: int) -> int:
    """How many groups prompts are put into, by the outcomes that a model has.

    >>> groups_for(1), groups_for(1500), groups_for(11_000)
    (1, 116, 314)
    """
    return max(1, min(outcomes, int(3 * math.sqrt(outcomes))))


def grouped(rows: Matrix, groups: int, random: np.random.Generator) -> Matrix:
    """Centres of groups of rows, by k-means on the sphere."""
    centres: Matrix = rows[random.permutation(len(rows))[:groups]].copy()
    for _ in range(ROUNDS):
        nearest = (rows @ centres.T).argmax(axis=1)
        summed = (nearest == np.arange(groups)[:, None]).astype(np.float32) @ rows
        empty = ~np.isin(np.arange(groups), nearest)
        summed[empty] = centres[empty]
        centres = unit(summed)
    return centres
