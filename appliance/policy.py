"""How well each model does on prompts like this one: what learning fits, and the router can ask. Pure.

The predictor knows no prompts, only centres of groups of them: prompts seen so far were put into groups by their
vectors, several times over, and each group has a mean outcome for each model, pulled to that model's mean over all. A
new prompt belongs to each group by its likeness. Many groupings, averaged, guess better than any single one.
"""

from __future__ import annotations

import base64
from functools import lru_cache
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from appliance.work import Noun

Matrix = NDArray[np.float32]


class Prototypes(Noun):
    """Quality by likeness to groups of earlier prompts."""

    embedder: str = Field(min_length=1, description="the model that makes the vectors")
    digest: str = Field("", description="beginning of its SHA-256; vectors of other weights mean nothing here")
    characters: int = Field(ge=1, description="how much of a prompt's beginning goes into its vector")
    dimensions: int = Field(ge=1, le=8192)
    groupings: int = Field(ge=1, le=64)
    nearness: float = Field(gt=0, description="difference in cosine at which a group counts a third as much")
    models: tuple[str, ...] = Field(min_length=1, max_length=1000)
    centres: str = Field(description="groupings × groups × dimensions, 16-bit floats in base64")
    means: str = Field(description="groupings × groups × models, 32-bit floats in base64: outcomes from 0 to 1")
    evidence: int = Field(0, ge=0, description="outcomes it was fitted to")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        try:
            centres, means = self._arrays
        except ValueError as error:
            raise ValueError("centres and means do not have the shape that is said of them") from error
        if centres.shape[:2] != means.shape[:2] or not centres.size:
            raise ValueError("there are not as many centres as means")
        if not (np.isfinite(centres).all() and np.isfinite(means).all()):
            raise ValueError("some numbers are not finite")
        return self

    @property
    def _arrays(self) -> tuple[Matrix, Matrix]:
        return _unpacked(self.centres, self.means, self.groupings, self.dimensions, len(self.models))

    def quality(self, vectors: Any) -> Matrix:
        """Expected outcomes of prompts (rows of `vectors`, any length) for each of `models`. Raises ValueError."""
        rows = unit(vectors)
        if rows.shape[1] != self.dimensions:
            raise ValueError(f"vectors have {rows.shape[1]} dimensions, not {self.dimensions}")
        centres, means = self._arrays
        found = np.zeros((len(rows), len(self.models)), np.float32)
        for own, mean in zip(centres, means, strict=True):
            found += shares(rows, own, self.nearness) @ mean
        return np.asarray(found / len(centres), dtype=np.float32)


@lru_cache(maxsize=16)
def _unpacked(centres: str, means: str, groupings: int, dimensions: int, models: int) -> tuple[Matrix, Matrix]:
    """Kept, since it is asked for at every decision. Raises ValueError (binascii's among them)."""
    own = np.frombuffer(base64.b64decode(centres, validate=True), "<f2").astype(np.float32)
    mean = np.frombuffer(base64.b64decode(means, validate=True), "<f4").astype(np.float32)
    return own.reshape(groupings, -1, dimensions), mean.reshape(groupings, -1, models)


def unit(vectors: Any) -> Matrix:
    """Rows as unit vectors; a row without a direction stays nought."""
    rows = np.atleast_2d(np.asarray(vectors, dtype=np.float32))
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(lengths > 0, lengths, 1.0), dtype=np.float32)


def shares(rows: Matrix, centres: Matrix, nearness: float) -> Matrix:
    """How much each row belongs to each centre; each row's shares add up to one."""
    likeness = rows @ centres.T
    made = np.exp((likeness - likeness.max(axis=1, keepdims=True)) / nearness)
    return np.asarray(made / made.sum(axis=1, keepdims=True), dtype=np.float32)


def packed(numbers: Any, kind: str) -> str:
    """An array as base64 text: `kind` is "<f2" or "<f4"."""
    return base64.b64encode(np.ascontiguousarray(numbers, dtype=kind).tobytes()).decode("ascii")
